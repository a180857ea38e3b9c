/** https://docs.nestjs.com/interceptors#aspect-interception */
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import { tap } from 'rxjs';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

export default application({
  name: 'a logging interceptor',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app, { note }) => {
    @Injectable()
    class LoggingInterceptor implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler) {
        note('Before...');
        return next.handle().pipe(tap(() => note('After...')));
      }
    }
    app.useGlobalInterceptors(new LoggingInterceptor());
  },
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 201, notes: ['Before...', 'After...'] }],
});
