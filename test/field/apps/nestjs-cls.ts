/** https://papooch.github.io/nestjs-cls: what middleware sets is there in guards, handlers, services and interceptors. */
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { ClsModule, ClsService } from 'nestjs-cls';
import { tap } from 'rxjs';
import { application, Effects } from '../harness.js';

const idOf = (context: ExecutionContext) =>
  context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-request-id'];

const setUp = {
  mount: true,
  generateId: true,
  idGenerator: (request: { headers: Record<string, string> }) => request.headers['x-request-id'],
};

/** Where the context begins: the package has middleware, a guard and an interceptor for that. */
const contexts = {
  middleware: setUp,
  guard: { ...setUp, idGenerator: idOf },
  interceptor: { ...setUp, idGenerator: idOf },
};

export default Object.entries(contexts).map(([where, options]) =>
  application({
    name: `nestjs-cls, by its ${where}`,
    build: ({ Idempotent, note }) => {
      @Injectable()
      class CatsService {
        constructor(
          private readonly cls: ClsService,
          private readonly effects: Effects,
        ) {}

        async create() {
          const id = await this.effects.add();
          return { id, by: this.cls.get<string>('user'), request: this.cls.getId() };
        }
      }

      @Injectable()
      class UserInterceptor implements NestInterceptor {
        constructor(private readonly cls: ClsService) {}

        intercept(context: ExecutionContext, next: CallHandler) {
          const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
          this.cls.set('user', headers['x-user-id']);
          return next.handle().pipe(tap(() => note(`${this.cls.getId()} ${this.cls.get<string>('user')}`)));
        }
      }

      @Controller('cats')
      @UseInterceptors(UserInterceptor)
      class CatsController {
        constructor(private readonly cats: CatsService) {}

        @Post()
        @Idempotent()
        create() {
          return this.cats.create();
        }
      }
      return {
        imports: [
          ClsModule.forRoot({
            global: true,
            [where]: options,
          }),
        ],
        controllers: [CatsController],
        // Callers are anonymous here: without this, a guard that names no user logs a warning.
        options: { scope: () => 'anonymous' },
        providers: [CatsService],
      };
    },
    exchanges: [
      {
        name: 'create',
        request: { path: '/cats', headers: { 'X-Request-Id': 'r-7', 'X-User-Id': 'john' } },
        status: 201,
        notes: ['r-7 john'],
      },
    ],
  }),
);
