/** https://github.com/fastify/fastify-etag */
import etag from '@fastify/etag';
import { ConflictException, Controller, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: '@fastify/etag',
  adapters: ['fastify'],
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
  setup: (app) => app.register(etag),
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201 },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409 },
  ],
});
