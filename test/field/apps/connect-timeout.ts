/** https://github.com/expressjs/timeout, and the same with Fastify: a 503 while the handler runs. */
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';
import { answersLate, checkLateHandler } from '../support/late-handler.js';

export default application({
  name: 'connect-timeout',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: answersLate,
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats' },
      status: 201,
      concurrent: false,
      check: (client, request) => checkLateHandler(client, request, 503),
    },
  ],
  // What connect-timeout and Fastify have sent cannot be sent again: Nest says so.
  logs: [/^ERROR /],
});
