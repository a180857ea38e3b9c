/** https://docs.nestjs.com/security/rate-limiting: the guard counts replays too, and its headers are those of the present request. */
import assert from 'node:assert/strict';
import { Controller, Post } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application, Effects } from '../harness.js';

export default application({
  name: '@nestjs/throttler',
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
    return {
      imports: [ThrottlerModule.forRoot({ throttlers: [{ ttl: 60_000, limit: 100 }] })],
      controllers: [CatsController],
      // Callers are anonymous here: without this, a guard that tells nobody by name is warned of.
      options: { scope: () => 'anonymous' },
      providers: [{ provide: APP_GUARD, useClass: ThrottlerGuard }],
    };
  },
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats' },
      status: 201,
      differs: {
        'x-ratelimit-remaining:': 'every request counts',
        'x-ratelimit-reset:': 'seconds from now',
      },
      check: (_client, _request, answers) => {
        const [first, retried] = [answers.first, answers.retried].map(({ head }) =>
          Number(valueOf(head, 'x-ratelimit-remaining')),
        );
        assert.equal(retried, first - 1);
      },
    },
  ],
});
