import { applyDecorators, UseFilters, UseInterceptors } from '@nestjs/common';
import { IdempotencyInterceptor } from '../edges/idempotency.interceptor.js';
import { IdempotencyProblemFilter } from '../edges/idempotency-problem.filter.js';
import type { IdempotentOptions } from '../options/idempotency-options.js';
import { checkNoName, checkOperationOptionNames, resolveOperationOptions } from '../options/resolve-options.js';
import { mark } from '../handlers/marking.js';
import { watchHandler, watchMethods } from '../handlers/watch-handler.js';

/**
 * Makes an operation idempotent: a request that comes again with the same key gets the first outcome, and the operation
 * is not carried out twice.
 *
 * On a controller it covers the methods that change something (POST, PUT, PATCH, DELETE), on a resolver its mutations;
 * message handlers are covered where it stands at the method. Options on a method come before those on its class, and
 * those before the module's. On what Nest calls without its pipeline, such as a method of a service, it fails the boot:
 * there, use `IdempotencyService.run()`.
 *
 * @throws IdempotencyOptionError for an option that cannot be used, naming it
 */
export function Idempotent(options: IdempotentOptions = {}): MethodDecorator & ClassDecorator {
  checkOperationOptionNames(options);
  resolveOperationOptions(options);
  const wire = applyDecorators(UseInterceptors(IdempotencyInterceptor), UseFilters(IdempotencyProblemFilter));

  return ((target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => {
    if (key === undefined || !descriptor) {
      checkNoName(options);
      mark(target, options);
      watchMethods((target as { prototype: object }).prototype);
      wire(target as never);
      return;
    }
    descriptor.value = watchHandler(descriptor.value);
    mark(descriptor.value, options);
    wire(target, key, descriptor);
  }) as MethodDecorator & ClassDecorator;
}

/** Exempts a method of an idempotent controller, or declares to the boot audit that a route is meant to be unprotected. */
export function NotIdempotent(): MethodDecorator & ClassDecorator {
  return ((target: object, _key?: string | symbol, descriptor?: PropertyDescriptor) => {
    mark((descriptor?.value as object | undefined) ?? target, 'exempt');
  }) as MethodDecorator & ClassDecorator;
}
