/** https://orpc.dev/docs/openapi/integrations/implement-contract-in-nest: the work is done by an interceptor, as with ts-rest. */
import assert from 'node:assert/strict';
import { Controller } from '@nestjs/common';
import { oc } from '@orpc/contract';
import { Implement, implement, ORPCError, ORPCModule } from '@orpc/nest';
import { z } from 'zod/v4';
import { type Application, application, Effects } from '../harness.js';
import { answersLate, checkLateHandler } from '../support/late-handler.js';

const contract = {
  create: oc
    .route({ method: 'POST', path: '/planets' })
    .input(z.object({ name: z.string() }))
    .output(z.object({ id: z.number(), name: z.string() })),
};

const build: Application['build'] = ({ Idempotent }) => {
  @Controller()
  class PlanetController {
    constructor(private readonly effects: Effects) {}

    @Implement(contract.create)
    @Idempotent()
    create() {
      return implement(contract.create).handler(async ({ input: { name } }) => {
        if (name === 'taken') throw new ORPCError('CONFLICT', { message: 'taken' });
        const id = await this.effects.add(name);
        if (name === 'broken') throw new Error('after the effect');
        return { id, name };
      });
    }
  }
  return { imports: [ORPCModule.forRoot({})], controllers: [PlanetController] };
};

export default [
  application({
    name: '@orpc/nest',
    build,
    exchanges: [
      { name: 'create', request: { path: '/planets', body: { name: 'earth' } }, status: 200 },
      { name: 'taken', request: { path: '/planets', body: { name: 'taken' } }, status: 409 },
      { name: 'broken', request: { path: '/planets', body: { name: 'broken' } }, status: 500, effects: 1 },
      {
        name: 'a body that is invalid',
        request: { path: '/planets', body: { name: 7 } },
        status: 400,
        check: async (client, request) => {
          const corrected = await client.send({ ...request, body: { name: 'earth' } });
          assert.ok(
            corrected.status < 300 || corrected.status === 422,
            `a corrected request: ${String(corrected.body)}`,
          );
        },
      },
    ],
  }),
  application({
    name: '@orpc/nest beside a time-out',
    build,
    setup: answersLate,
    exchanges: [
      {
        name: 'create',
        request: { path: '/planets', body: { name: 'earth' } },
        status: 200,
        concurrent: false,
        check: (client, request) => checkLateHandler(client, request, 503),
      },
    ],
    logs: [/^ERROR /],
  }),
];
