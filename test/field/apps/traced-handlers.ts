/**
 * https://github.com/open-telemetry/opentelemetry-js-contrib/tree/main/packages/instrumentation-nestjs-core, which @sentry/nestjs
 * does likewise: handlers are wrapped where Nest looks them up, after all decorators. Nest is given another function than the
 * method of the controller, with its name and its metadata.
 */
import { Controller, HttpStatus, type OnApplicationShutdown, Post, Res, UseInterceptors } from '@nestjs/common';
import { RouterExecutionContext } from '@nestjs/core/router/router-execution-context.js';
import { context, trace } from '@opentelemetry/api';
import { application, Effects, type Exchange } from '../harness.js';
import { checkLateHandler } from '../support/late-handler.js';
import { TimeoutInterceptor } from '../support/timeout.interceptor.js';

type Method = (this: unknown, ...args: unknown[]) => unknown;

interface Response {
  status(code: number): Response;
  send(body?: unknown): Response;
}

function traced(handler: Method): Method {
  const wrapped: Method = function (...args) {
    const span = trace.getTracer('field').startSpan(handler.name);
    return context.with(trace.setSpan(context.active(), span), async () => {
      try {
        return await handler.apply(this, args);
      } finally {
        span.end();
      }
    });
  };
  Object.defineProperty(wrapped, 'name', { value: handler.name });
  for (const key of Reflect.getMetadataKeys(handler)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, handler), wrapped);
  }
  return wrapped;
}

/** From here on until the application ends, as the instrumentation is there once in a process. */
class Instrumentation implements OnApplicationShutdown {
  private readonly original = Object.getOwnPropertyDescriptor(RouterExecutionContext.prototype, 'create')!;

  constructor() {
    const create = this.original.value as Method;
    Object.defineProperty(RouterExecutionContext.prototype, 'create', {
      ...this.original,
      value(this: unknown, instance: unknown, callback: Method, ...rest: unknown[]) {
        return create.call(this, instance, traced(callback), ...rest);
      },
    });
  }

  onApplicationShutdown(): void {
    Object.defineProperty(RouterExecutionContext.prototype, 'create', this.original);
  }
}

const lateExchange = (path: string): Exchange => ({
  name: path,
  request: { path },
  status: 201,
  concurrent: false,
  check: (client, request) => checkLateHandler(client, request, 408),
});

const tracer = application({
  name: 'handlers that a tracer wraps',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }

      @Post('native')
      @Idempotent()
      async native(@Res() res: Response) {
        res.status(HttpStatus.ACCEPTED).send({ id: await this.effects.add() });
      }

      @Post('late')
      @Idempotent()
      @UseInterceptors(TimeoutInterceptor)
      async late() {
        return { id: await this.effects.add() };
      }

      @Post('late-inside')
      @UseInterceptors(TimeoutInterceptor)
      @Idempotent()
      async lateInside() {
        return { id: await this.effects.add() };
      }

      @Post('broken')
      @Idempotent()
      async broken() {
        await this.effects.add();
        throw new Error('after the effect');
      }
    }
    return {
      controllers: [CatsController],
      providers: [{ provide: Instrumentation, useValue: new Instrumentation() }],
    };
  },
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201 },
    { name: 'native', request: { path: '/cats/native' }, status: 202 },
    { name: 'broken', request: { path: '/cats/broken' }, status: 500, effects: 1 },
    lateExchange('/cats/late'),
    lateExchange('/cats/late-inside'),
  ],
});

/** https://github.com/gid-oss/dataui-nestjs-crud: `@Crud()` gives its class the methods that it has none of. */
function crud(effects: (controller: object) => Effects): ClassDecorator {
  return ({ prototype }) => {
    const generated = {
      async createOne(this: object) {
        return { id: await effects(this).add() };
      },
    };
    Object.assign(prototype as object, generated);
    Post()(prototype as object, 'createOne', Object.getOwnPropertyDescriptor(prototype, 'createOne')!);
    UseInterceptors(TimeoutInterceptor)(
      prototype as object,
      'createOne',
      Object.getOwnPropertyDescriptor(prototype, 'createOne')!,
    );
  };
}

const generator = application({
  name: 'handlers that a class decorator makes',
  build: ({ Idempotent }) => {
    @crud((controller) => (controller as CatsController).effects)
    @Idempotent()
    @Controller('cats')
    class CatsController {
      constructor(readonly effects: Effects) {}
    }
    return { controllers: [CatsController] };
  },
  exchanges: [lateExchange('/cats')],
});

export default [tracer, generator];
