/** https://docs.nestjs.com/interceptors#aspect-interception */
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
} from '@nestjs/common';
import { tap } from 'rxjs';
import { application, Effects } from '../harness.js';

export default application({
  name: 'a logging interceptor',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [CatsController] };
  },
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
