/** Every response is a 200 with `{ success }`, as APIs for some clients have it: an error filter, and an interceptor's `catchError`. */
import assert from 'node:assert/strict';
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { catchError, map, of } from 'rxjs';
import { application, type Exchange } from '../harness.js';
import { catsController } from '../support/cats.js';

const messageOf = (error: unknown) => (error instanceof HttpException ? error.message : 'internal error');

@Catch()
class EnvelopeFilter implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const response: unknown = host.switchToHttp().getResponse();
    this.host.httpAdapter.reply(response, { success: false, message: messageOf(exception) }, 200);
  }
}

class EnvelopeInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const response = context.switchToHttp().getResponse<{ status(code: number): unknown }>();
    return next.handle().pipe(
      map((data: unknown) => ({ success: true, data })),
      catchError((error: unknown) => {
        response.status(200);
        return of({ success: false, message: messageOf(error) });
      }),
    );
  }
}

const errors = (path: string): Exchange[] => [
  { name: `${path}, a domain error`, request: { path: `${path}/taken` }, status: 200, effects: 0 },
  { name: `${path}, an outage`, request: { path: `${path}/broken` }, status: 200, retry: 'rerun' },
  {
    name: path,
    request: { path },
    status: 201,
    check: async (client, { path }) => {
      const { status, body } = await client.send({ path });
      assert.equal(status, 400, `the problem of a key that is missing keeps its status: ${String(body)}`);
    },
  },
];

export default application({
  name: 'envelopes with status 200',
  build: (field) => {
    @Controller('filter')
    class FilterController extends catsController(field) {}

    @Controller('interceptor')
    @UseInterceptors(EnvelopeInterceptor)
    class InterceptorController extends catsController(field) {}
    return { controllers: [FilterController, InterceptorController] };
  },
  setup: (app) => app.useGlobalFilters(new EnvelopeFilter(app.get(HttpAdapterHost))),
  exchanges: [...errors('/filter'), ...errors('/interceptor')],
});
