/** https://docs.nestjs.com/security/helmet and /security/cors */
import fastifyHelmet from '@fastify/helmet';
import { ConflictException, Controller, Post } from '@nestjs/common';
import helmet from 'helmet';
import { application, Effects } from '../harness.js';

const headers = { Origin: 'https://shop.example' };

export default application({
  name: 'helmet',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }

      @Post('taken')
      @Idempotent()
      taken() {
        throw new ConflictException('taken');
      }
    }
    return { controllers: [CatsController] };
  },
  setup: async (app, { adapter }) => {
    if (adapter === 'express') app.use(helmet());
    else await app.register(fastifyHelmet);
    app.enableCors({ origin: true, credentials: true, exposedHeaders: ['Idempotent-Replayed'] });
  },
  exchanges: [
    { name: 'create', request: { path: '/cats', headers }, status: 201 },
    { name: 'taken', request: { path: '/cats/taken', headers }, status: 409 },
  ],
});
