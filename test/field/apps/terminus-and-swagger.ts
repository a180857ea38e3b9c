/** https://docs.nestjs.com/recipes/terminus and https://docs.nestjs.com/openapi/introduction */
import assert from 'node:assert/strict';
import { Body, Controller, Get, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiProperty, DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { HealthCheck, HealthCheckService, TerminusModule, TypeOrmHealthIndicator } from '@nestjs/terminus';
import { application, Effects } from '../harness.js';

class CatDto {
  @ApiProperty() name!: string;
}

export default application({
  name: '@nestjs/terminus and @nestjs/swagger',
  build: ({ Idempotent }) => {
    @Controller()
    class CatsController {
      constructor(
        private readonly effects: Effects,
        private readonly health: HealthCheckService,
        private readonly db: TypeOrmHealthIndicator,
      ) {}

      @Post('cats')
      @ApiCreatedResponse({ type: CatDto })
      @Idempotent()
      async create(@Body() { name }: CatDto) {
        return { id: await this.effects.add(), name };
      }

      @Get('health')
      @HealthCheck()
      check() {
        return this.health.check([() => this.db.pingCheck('database')]);
      }
    }
    return { imports: [TerminusModule], controllers: [CatsController] };
  },
  setup: (app) => {
    const config = new DocumentBuilder().setTitle('Cats').build();
    SwaggerModule.setup('api', app, () => SwaggerModule.createDocument(app, config));
  },
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats', body: { name: 'Tom' } },
      status: 201,
      check: async (client) => {
        for (const path of ['/health', '/api-json']) {
          assert.equal((await client.send({ method: 'GET', path })).status, 200, path);
        }
      },
    },
  ],
});
