/** Middleware or a hook that answers with the request's id, and an interceptor that logs how long it took. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { tap } from 'rxjs';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

interface Response {
  setHeader(name: string, value: string): void;
  header(name: string, value: string): void;
}

class TimingInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    const response = context.switchToHttp().getResponse<Response>();
    response.header('X-Correlation-Id', randomUUID());
    const began = performance.now();
    return next.handle().pipe(tap(() => response.header('Server-Timing', `app;dur=${performance.now() - began}`)));
  }
}

export default application({
  name: 'request ids',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app, { adapter }) => {
    app.useGlobalInterceptors(new TimingInterceptor());
    if (adapter === 'express') {
      app.use((_request: unknown, response: Response, next: () => void) => {
        response.setHeader('X-Request-Id', randomUUID());
        next();
      });
    } else {
      const fastify = app.getHttpAdapter().getInstance();
      fastify.addHook('onRequest', (_request, reply, done) => {
        void reply.header('X-Request-Id', randomUUID());
        done();
      });
    }
  },
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats' },
      status: 201,
      differs: {
        'x-request-id:': 'of one request',
        'x-correlation-id:': 'of one request',
        'server-timing:': 'of one request',
      },
      replayLacks: { 'server-timing:': 'the interceptor sets it when the replay has left' },
      check: (_client, _request, { first, retried }) => {
        for (const name of ['x-request-id', 'x-correlation-id']) {
          assert.notEqual(valueOf(retried.head, name), valueOf(first.head, name), `${name} is that of the retry`);
        }
      },
    },
  ],
});
