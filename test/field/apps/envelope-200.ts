/** Every response is a 200 with `{ success }`, as APIs for some clients have it: an error filter, and an interceptor's `catchError`. */
import assert from 'node:assert/strict';
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  ConflictException,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  HttpException,
  type NestInterceptor,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { catchError, map, of } from 'rxjs';
import { application, Effects, type Exchange } from '../harness.js';

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
  { name: `${path}, an outage`, request: { path: `${path}/broken` }, status: 200, effects: 0, retry: 'rerun' },
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
  build: ({ Idempotent }) => {
    class Cats {
      constructor(readonly effects: Effects) {}

      async create() {
        return { id: await this.effects.add() };
      }
    }

    @Controller('filter')
    class FilterController {
      private readonly cats: Cats;
      constructor(effects: Effects) {
        this.cats = new Cats(effects);
      }

      @Post()
      @Idempotent()
      create() {
        return this.cats.create();
      }

      @Post('taken')
      @Idempotent()
      taken() {
        throw new ConflictException('taken');
      }

      @Post('broken')
      @Idempotent()
      broken() {
        throw new Error('the provider is down');
      }
    }

    @Controller('interceptor')
    @UseInterceptors(EnvelopeInterceptor)
    class InterceptorController extends FilterController {
      constructor(effects: Effects) {
        super(effects);
      }
    }
    return { controllers: [FilterController, InterceptorController] };
  },
  setup: (app) => app.useGlobalFilters(new EnvelopeFilter(app.get(HttpAdapterHost))),
  exchanges: [...errors('/filter'), ...errors('/interceptor')],
});
