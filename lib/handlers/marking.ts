import type { IdempotentOptions } from '../options/idempotency-options.js';
import { mergeOptions } from '../options/merge-options.js';
import { INTERCEPTORS } from '../private-names/nest.js';

const OPTIONS = Symbol('nestjs-idempotency:options');

type Target = object;

/** What decorators say of a class or method: options, or that it is exempt. */
export type Marking = IdempotentOptions | 'exempt';

export function mark(target: Target, marking: Marking): void {
  Reflect.defineMetadata(OPTIONS, marking, target);
}

/** The options that apply to a handler, the method's before the class's; `undefined` where it is not idempotent. */
export function markingOf(controller: Target, handler: Target): IdempotentOptions | 'exempt' | undefined {
  const onMethod = Reflect.getMetadata(OPTIONS, handler) as Marking | undefined;
  const onClass = Reflect.getMetadata(OPTIONS, controller) as Marking | undefined;
  if (onMethod === 'exempt') return 'exempt';
  if (onMethod === undefined) return onClass;
  return onClass === undefined || onClass === 'exempt' ? onMethod : mergeOptions(onClass, onMethod);
}

/** Whether a decorator stands at the method, and not only at its class. */
export function isMarkedItself(handler: Target): boolean {
  return Reflect.hasMetadata(OPTIONS, handler);
}

/** Whether a decorator at the method itself says that it is idempotent. */
export function isMarkedIdempotent(handler: Target): boolean {
  const marking = Reflect.getMetadata(OPTIONS, handler) as Marking | undefined;
  return marking !== undefined && marking !== 'exempt';
}

/** On the class of our interceptor, by which it is known. */
export const IS_OURS = Symbol('nestjs-idempotency:interceptor');

/** Whether our interceptor is wired by hand at a handler or its class. */
export function isWiredByHand(controller: Target, handler: Target): boolean {
  const wired = [controller, handler].flatMap((one) => (Reflect.getMetadata(INTERCEPTORS, one) ?? []) as object[]);
  return wired.some((interceptor) => IS_OURS in interceptor || IS_OURS in interceptor.constructor);
}
