/** https://docs.nestjs.com/interceptors#more-operators: 408 while the handler runs. */
import { Controller, Post, UseInterceptors } from '@nestjs/common';
import { application, Effects, type Exchange } from '../harness.js';
import { checkLateHandler } from '../support/late-handler.js';
import { TimeoutInterceptor } from '../support/timeout.interceptor.js';

const exchange = (path: string): Exchange => ({
  name: path,
  request: { path },
  status: 201,
  concurrent: false,
  check: (client, request) => checkLateHandler(client, request, 408),
});

export default application({
  name: "Nest's timeout interceptor",
  build: ({ Idempotent }) => {
    @Controller()
    class PaymentsController {
      constructor(private readonly effects: Effects) {}

      @Post('outside')
      @Idempotent()
      @UseInterceptors(TimeoutInterceptor)
      async outside() {
        return { id: await this.effects.add() };
      }

      @Post('inside')
      @UseInterceptors(TimeoutInterceptor)
      @Idempotent()
      async inside() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [PaymentsController] };
  },
  exchanges: [exchange('/outside'), exchange('/inside')],
});
