import type { IdempotentOptions } from '../options/idempotency-options.js';
import { mergeOptions } from '../options/merge-options.js';
import { interceptorsOf } from '../private-names/nest.js';

const OPTIONS = Symbol('nestjs-idempotency:options');
/** The names of a class's methods that have had `@Idempotent()`. */
const MARKED = Symbol('nestjs-idempotency:marked');

/** The options of `@Idempotent()` at a class or method, or `'exempt'` for `@NotIdempotent()`. */
export type Marking = IdempotentOptions | 'exempt';

export function mark(target: object, marking: Marking): void {
  Reflect.defineMetadata(OPTIONS, marking, target);
}

/** Notes that a method of a class has `@Idempotent()`, whatever other decorators make of the method later. */
export function noteMarked(prototype: object, name: string | symbol): void {
  Reflect.defineMetadata(MARKED, [...markedIn(prototype), name], prototype);
}

function markedIn(prototype: object): readonly string[] {
  return (Reflect.getOwnMetadata(MARKED, prototype) ?? []) as string[];
}

/**
 * Returns the methods of a class, its base classes included, from which another decorator has taken `@Idempotent()`: it has put a function
 * in the place of the method, and has not copied what others have defined on it.
 */
export function lostMarkings(prototype: object): string[] {
  const lost: string[] = [];
  for (let at: object | null = prototype; at; at = Object.getPrototypeOf(at) as object | null) {
    const methods = at as Readonly<Record<string, object>>;
    const isOwn = (name: string) => (prototype as typeof methods)[name] === methods[name];
    lost.push(...markedIn(at).filter((name) => isOwn(name) && !isMarkedItself(methods[name])));
  }
  return lost;
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
