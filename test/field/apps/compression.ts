/** https://docs.nestjs.com/techniques/compression */
import compress from '@fastify/compress';
import { Controller, Post } from '@nestjs/common';
import compression from 'compression';
import { application, Effects } from '../harness.js';

export default application({
  name: 'compression',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add(), text: 'miaow '.repeat(1_000) };
      }
    }
    return { controllers: [CatsController] };
  },
  setup: async (app, { adapter }) => {
    if (adapter === 'express') app.use(compression());
    else await app.register(compress, { global: true });
  },
  exchanges: ['gzip', 'br', 'identity'].map((coding) => ({
    name: coding,
    request: { path: '/cats', headers: { 'Accept-Encoding': coding } },
    status: 201,
  })),
});
