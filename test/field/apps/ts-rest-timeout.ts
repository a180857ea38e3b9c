/** The work that ts-rest's interceptor does, beside a time-out: the method itself has long returned. */
import { Controller } from '@nestjs/common';
import { initContract } from '@ts-rest/core';
import { TsRestHandler, tsRestHandler } from '@ts-rest/nest';
import { z } from 'zod';
import { application, Effects } from '../harness.js';
import { answersLate, checkLateHandler } from '../late-handler.js';

const contract = initContract().router({
  createPost: { method: 'POST', path: '/posts', body: z.object({}), responses: { 201: z.object({ id: z.number() }) } },
});

export default application({
  name: '@ts-rest/nest beside a time-out',
  build: ({ Idempotent }) => {
    @Controller()
    class PostController {
      constructor(private readonly effects: Effects) {}

      @TsRestHandler(contract.createPost)
      @Idempotent()
      createPost() {
        return tsRestHandler(contract.createPost, async () => ({
          status: 201,
          body: { id: await this.effects.add() },
        }));
      }
    }
    return { controllers: [PostController] };
  },
  setup: answersLate,
  exchanges: [
    {
      name: 'create',
      request: { path: '/posts', body: {} },
      status: 201,
      concurrent: false,
      check: (client, request) => checkLateHandler(client, request, 503),
    },
  ],
  logs: [/^ERROR /],
});
