import { ClassSerializerInterceptor, type ExecutionContext } from '@nestjs/common';
import { type ApplicationConfig, type HttpAdapterHost, Reflector } from '@nestjs/core';
import { lastValueFrom, of } from 'rxjs';
import { wiredInterceptors } from '../../handlers/marking.js';
import { namesSerializedType } from '../../private-names/nest.js';

/**
 * Serializes values for the record as `ClassSerializerInterceptor` does for the answer. That interceptor runs outside of `@Idempotent()`,
 * and reads from the class of a value what to leave out. A replay has no class, and would show what `@Exclude()` hides.
 */
export class Serializers {
  private readonly known = new WeakMap<object, ClassSerializerInterceptor | undefined>();

  constructor(
    private readonly application: ApplicationConfig,
    private readonly adapterHost: HttpAdapterHost,
  ) {}

  /** Returns what serializes the values of a handler; `undefined` where no such interceptor is known. */
  of(context: ExecutionContext): ((value: unknown) => Promise<unknown>) | undefined {
    const handler = context.getHandler();
    if (!this.known.has(handler)) this.known.set(handler, this.find(context));
    const serializer = this.known.get(handler);
    if (!serializer) return undefined;
    return async (value) => lastValueFrom(await serializer.intercept(context, { handle: () => of(value) }));
  }

  private find(context: ExecutionContext): ClassSerializerInterceptor | undefined {
    // It then serializes the plain object of a replay like the first value, and would do so twice.
    const [controller, handler] = [context.getClass(), context.getHandler()];
    if (namesSerializedType(controller, handler)) return undefined;
    for (const one of [...wiredInterceptors(controller, handler), ...this.globals]) {
      if (one instanceof ClassSerializerInterceptor) return one;
      if (one === ClassSerializerInterceptor) return new ClassSerializerInterceptor(new Reflector());
    }
    return undefined;
  }

  /** In an application that also answers over HTTP, a microservice may have global interceptors of its own, which are not known here. */
  private get globals(): unknown[] {
    return this.adapterHost.httpAdapter ? [] : this.application.getGlobalInterceptors();
  }
}
