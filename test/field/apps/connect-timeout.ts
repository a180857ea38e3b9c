/** https://github.com/expressjs/timeout, and the same with Fastify: a 503 while the handler runs. */
import { Controller, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';
import { answersLate, checkLateHandler } from '../late-handler.js';

export default application({
  name: 'connect-timeout',
  build: ({ Idempotent }) => {
    @Controller('payments')
    class PaymentsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async pay() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [PaymentsController] };
  },
  setup: answersLate,
  exchanges: [
    {
      name: 'pay',
      request: { path: '/payments' },
      status: 201,
      concurrent: false,
      check: (client, request) => checkLateHandler(client, request, 503),
    },
  ],
  // What connect-timeout and Fastify have sent cannot be sent again: Nest says so.
  logs: [/^ERROR /],
});
