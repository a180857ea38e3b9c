/** Returns whether a value is an Observable. The engine needs no package, and an application may have two copies of rxjs. */
export function isObservable(value: unknown): boolean {
  return hasMethod(value, 'subscribe') && hasMethod(value, 'pipe');
}

/**
 * Returns whether a result has a method. A getter or a Proxy may throw, for a name that it does not know. The work behind the result is done
 * all the same: to fail it would run it again.
 */
export function hasMethod(value: unknown, name: string): boolean {
  try {
    return typeof (value as Record<string, unknown> | null | undefined)?.[name] === 'function';
  } catch {
    return false;
  }
}

/**
 * Returns a result, unless it is an Observable, such as @nestjs/axios and microservice clients return. An Observable does nothing before it
 * is subscribed to: on record as a result, its work would count as done and never happen.
 *
 * @param of who returned it, in the error
 * @throws TypeError for an Observable
 */
export function noObservable<T>(result: T, of: string): T {
  if (!isObservable(result)) return result;
  throw new TypeError(
    `${of} returned an Observable, whose work has not begun. Return its promise: lastValueFrom(observable)`,
  );
}

/**
 * Returns a result, unless it is a `Nack` of @golevelup/nestjs-rabbitmq, which says that a message was not handled. On record as a result,
 * it would be a plain object for the next delivery, whose consumer would acknowledge the message: it would be lost.
 *
 * @param of who returned it, in the error
 * @throws TypeError for a Nack
 */
export function noNack<T>(result: T, of: string): T {
  if (!isNack(result)) return result;
  throw new TypeError(
    `${of} returned a Nack, and its message is not handled. Throw instead, and return the Nack behind run()`,
  );
}

/** By its getter: the library does not depend on the package. */
function isNack(value: unknown): boolean {
  try {
    return typeof (value as { requeue?: unknown } | null)?.requeue === 'boolean' && !Object.hasOwn(value!, 'requeue');
  } catch {
    return false;
  }
}
