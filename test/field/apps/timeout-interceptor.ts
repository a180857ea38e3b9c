/** https://docs.nestjs.com/interceptors#more-operators: 408 while the handler runs. */
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  RequestTimeoutException,
  UseInterceptors,
} from '@nestjs/common';
import { catchError, throwError, timeout, TimeoutError } from 'rxjs';
import { application, Effects, type Exchange } from '../harness.js';
import { checkLateHandler, TIME_LIMIT_MS } from '../support/late-handler.js';

@Injectable()
class TimeoutInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(
      timeout(TIME_LIMIT_MS),
      catchError((err: unknown) =>
        throwError(() => (err instanceof TimeoutError ? new RequestTimeoutException() : err)),
      ),
    );
  }
}

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
