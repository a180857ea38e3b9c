import { applyDecorators, UseFilters, UseInterceptors } from '@nestjs/common';
import { IdempotencyInterceptor } from '../edges/idempotency.interceptor.js';
import { IdempotencyProblemFilter } from '../edges/idempotency-problem.filter.js';
import type { IdempotentOptions } from '../options/idempotency-options.js';
import { onBehalfOf } from '../options/option-error.js';
import { checkNoName, checkOperationOptionNames, resolveOperationOptions } from '../options/resolve-options.js';
import { mark, noteMarked } from '../handlers/marking.js';
import { watchHandler, watchMethods } from '../handlers/watch-handler.js';

const NAME = '@Idempotent()';

/**
 * Makes an operation idempotent: a retry with the same key gets the first outcome, and the operation does not run twice.
 *
 * On a controller it covers POST, PUT, PATCH and DELETE, on a resolver the mutations. A message handler needs it on the method. Options
 * on a method override those on its class, and these override the module's. On a method that Nest calls without its pipeline, such as
 * that of a service, it fails the boot: use `IdempotencyService.run()` there.
 *
 * @throws IdempotencyOptionError for an option that cannot be used
 *
 * @example
 * ```ts
 * @Post('payments')
 * @Idempotent({ retention: '7d' })
 * pay(@Body() payment: PaymentDto) { ... }
 * ```
 */
export function Idempotent(options: IdempotentOptions = {}): MethodDecorator & ClassDecorator {
  onBehalfOf(NAME, () => {
    checkOperationOptionNames(options);
    resolveOperationOptions(options);
  });
  const wire = applyDecorators(UseInterceptors(IdempotencyInterceptor), UseFilters(IdempotencyProblemFilter));

  return ((target: object, key?: string | symbol, descriptor?: PropertyDescriptor) => {
    if (key === undefined || !descriptor) {
      onBehalfOf(NAME, () => checkNoName(options));
      mark(target, options);
      watchMethods((target as { prototype: object }).prototype);
      wire(target as never);
      return;
    }
    // At the method itself: generators of controllers throw the descriptor away, and the watched method with it.
    mark(descriptor.value as object, options);
    wire(target, key, descriptor);
    descriptor.value = watchHandler(descriptor.value);
    noteMarked(target, key);
  }) as MethodDecorator & ClassDecorator;
}

/** Exempts a method of an idempotent controller. The boot audit no longer reports a route with it as unprotected. */
export function NotIdempotent(): MethodDecorator & ClassDecorator {
  return ((target: object, _key?: string | symbol, descriptor?: PropertyDescriptor) => {
    mark((descriptor?.value as object | undefined) ?? target, 'exempt');
  }) as MethodDecorator & ClassDecorator;
}
