import type { Type } from '@nestjs/common';

/** Nest's metadata keys for the parameters of a handler, and for a response that is passed through to Nest again. */
const PARAMETERS = '__routeArguments__';
const PASSTHROUGH = '__responsePassthrough__';

/** Nest's types of parameters for `@Res()` and `@Next()`; a key of the metadata is type and index. */
const NATIVE = /^(1|2):/;

/** Returns whether a handler writes the response itself, as Nest has it: by `@Res()` without `passthrough`, or by `@Next()`. */
export function isNative(controller: Type, handler: object): boolean {
  const method = nameOf(controller, handler);
  if (method === undefined || Reflect.getMetadata(PASSTHROUGH, controller, method) === true) return false;
  const parameters = (Reflect.getMetadata(PARAMETERS, controller, method) ?? {}) as object;
  return Object.keys(parameters).some((key) => NATIVE.test(key));
}

/** The name by which Nest registers a method: a decorator that wraps it may have given it another one. */
function nameOf(controller: Type, handler: object): string | undefined {
  for (let at = controller.prototype as object | null; at; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.entries(Object.getOwnPropertyDescriptors(at)).find(([, { value }]) => value === handler);
    if (found) return found[0];
  }
  return undefined;
}
