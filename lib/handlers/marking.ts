import type { IdempotentOptions } from '../options/idempotency-options.js';
import { mergeOptions } from '../options/merge-options.js';
import { interceptorsOf } from '../private-names/nest.js';

const OPTIONS = Symbol('nestjs-idempotency:options');

/** The options of `@Idempotent()` at a class or method, or `'exempt'` for `@NotIdempotent()`. */
export type Marking = IdempotentOptions | 'exempt';

export function mark(target: object, marking: Marking): void {
  Reflect.defineMetadata(OPTIONS, marking, target);
}

/** Returns the marking that applies to a handler: the method's options override the class's. `undefined` without a decorator. */
export function markingOf(controller: object, handler: object): Marking | undefined {
  const onMethod = Reflect.getMetadata(OPTIONS, handler) as Marking | undefined;
  const onClass = Reflect.getMetadata(OPTIONS, controller) as Marking | undefined;
  if (onMethod === 'exempt') return 'exempt';
  if (onMethod === undefined) return onClass;
  return onClass === undefined || onClass === 'exempt' ? onMethod : mergeOptions(onClass, onMethod);
}

/** Returns whether the method itself has a decorator, and not only its class. */
export function isMarkedItself(handler: object): boolean {
  return Reflect.hasMetadata(OPTIONS, handler);
}

/** Returns whether the method itself has `@Idempotent()`. */
export function isMarkedIdempotent(handler: object): boolean {
  return isIdempotent(Reflect.getMetadata(OPTIONS, handler) as Marking | undefined);
}

/** Returns whether a marking is that of `@Idempotent()`, and neither that of `@NotIdempotent()` nor none. */
export function isIdempotent(marking: Marking | undefined): marking is IdempotentOptions {
  return marking !== undefined && marking !== 'exempt';
}

/** Marks the class of our interceptor, which this room must not import. */
export const IS_OURS = Symbol('nestjs-idempotency:interceptor');

/** Returns what `@UseInterceptors()` has put at a handler and its class: classes and instances. */
export function wiredInterceptors(controller: object, handler: object): readonly object[] {
  return [controller, handler].flatMap(interceptorsOf);
}

/** Returns whether a handler or its class has our interceptor by `@UseInterceptors()`. */
export function isWiredByHand(controller: object, handler: object): boolean {
  const wired = wiredInterceptors(controller, handler);
  return wired.some((interceptor) => IS_OURS in interceptor || IS_OURS in interceptor.constructor);
}
