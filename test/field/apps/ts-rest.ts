/** https://ts-rest.com/server/nest: the method returns a function, and an interceptor calls it. */
import assert from 'node:assert/strict';
import { Controller } from '@nestjs/common';
import { initContract } from '@ts-rest/core';
import { TsRestHandler, tsRestHandler } from '@ts-rest/nest';
import { z } from 'zod';
import { application, Effects, type Field } from '../harness.js';
import { answersLate, checkLateHandler } from '../support/late-handler.js';

const contract = initContract().router({
  createPost: {
    method: 'POST',
    path: '/posts',
    body: z.object({ title: z.string() }),
    responses: {
      201: z.object({ id: z.number(), title: z.string() }),
      409: z.object({ message: z.string() }),
    },
  },
});

function build({ Idempotent }: Field) {
  @Controller()
  class PostController {
    constructor(private readonly effects: Effects) {}

    @TsRestHandler(contract.createPost)
    @Idempotent()
    createPost() {
      return tsRestHandler(contract.createPost, async ({ body: { title } }) => {
        if (title === 'taken') return { status: 409, body: { message: 'taken' } };
        const id = await this.effects.add(title);
        if (title === 'broken') throw new Error('after the effect');
        return { status: 201, body: { id, title } };
      });
    }
  }
  return { controllers: [PostController] };
}

const alone = application({
  name: '@ts-rest/nest',
  build,
  exchanges: [
    { name: 'create', request: { path: '/posts', body: { title: 'hello' } }, status: 201 },
    { name: 'taken', request: { path: '/posts', body: { title: 'taken' } }, status: 409 },
    { name: 'broken', request: { path: '/posts', body: { title: 'broken' } }, status: 500, effects: 1 },
    {
      name: 'a body that is invalid',
      request: { path: '/posts', body: { title: 7 } },
      status: 400,
      retry: 'rerun',
      check: async (client, request) => {
        const corrected = await client.send({ ...request, body: { title: 'hello' } });
        assert.equal(corrected.status, 201, `a corrected request runs: ${String(corrected.body)}`);
      },
    },
  ],
});

/** A time-out answers while the interceptor still works: the method itself has returned. */
const besideTimeOut = application({
  name: '@ts-rest/nest beside a time-out',
  build,
  setup: answersLate,
  exchanges: [
    {
      name: 'create',
      request: { path: '/posts', body: { title: 'hello' } },
      status: 201,
      concurrent: false,
      check: (client, request) => checkLateHandler(client, request, 503),
    },
  ],
  logs: [/^ERROR /],
});

export default [alone, besideTimeOut];
