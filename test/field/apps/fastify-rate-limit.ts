/** https://github.com/fastify/fastify-rate-limit: a replay counts as a request, and says what is left now. */
import assert from 'node:assert/strict';
import rateLimit from '@fastify/rate-limit';
import { Controller, Post } from '@nestjs/common';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application, Effects } from '../harness.js';

export default application({
  name: '@fastify/rate-limit',
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
    }
    return { controllers: [CatsController] };
  },
  setup: (app) => app.register(rateLimit, { max: 100, timeWindow: '1 minute' }),
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats' },
      status: 201,
      differs: { 'x-ratelimit-remaining:': 'every request counts', 'x-ratelimit-reset:': 'seconds from now' },
      check: (_client, _request, answers) => {
        const [first, retried] = [answers.first, answers.retried].map(({ head }) =>
          Number(valueOf(head, 'x-ratelimit-remaining')),
        );
        assert.equal(retried, first - 1);
      },
    },
  ],
});
