import { isObservable, lastValueFrom, type Observable } from 'rxjs';
import { current, type CurrentExecution, runWithin } from '../engine/current-execution.js';
import { isMarkedIdempotent } from './marking.js';

/** Metadata of a watched method: the method itself. A text that does not make a helper method look like a handler. */
const WATCHED = '__nestjs-idempotency:watched__';

/** The classes of a module of Nest's, of each of its controllers and providers. */
type Classes = Readonly<Record<'controllers' | 'providers', ReadonlyMap<unknown, { readonly metatype: unknown }>>>;

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Returns whether {@link watchHandler} made this method. A wrapper that has its metadata is another one. */
export function isWatched(method: unknown): boolean {
  return typeof method === 'function' && Reflect.getOwnMetadata(WATCHED, method) === method;
}

/**
 * Returns the watched method that Nest's handler calls. Mostly that is the handler itself. Tracers wrap handlers where Nest
 * looks them up, later than all decorators, and give the wrapper the handler's metadata. A wrapper taken for the handler would hide
 * its calls: a time-out would free the key while the handler runs.
 */
export function watchedBehind<T extends object>(handler: T): T {
  return (Reflect.getMetadata(WATCHED, handler) as T | undefined) ?? handler;
}

/**
 * Returns a method that reports the beginning and the end of each call to the execution whose handler it is. The pipeline around
 * it does not always know: a timeout answers before the handler has ended, and a pipe or an interceptor before it begins.
 * Called outside of an execution, by another handler or by itself, it is the method as it was.
 *
 * An Observable, also a promised one, is turned into the promise of its last value, which is what Nest sends over HTTP,
 * because Nest would unsubscribe from it when the client goes away. Message handlers may answer with all of its values:
 * their edge follows it.
 */
export function watchHandler(method: Method): Method {
  if (isWatched(method)) return method;
  const watched = function (this: unknown, ...args: unknown[]): unknown {
    const execution = current();
    if (!execution?.isOf(watched) || execution.isRunningCall) return method.apply(this, args);
    return execution.call(() => method.apply(this, args), watchValue);
  };
  Object.defineProperties(watched, {
    name: { value: method.name, configurable: true },
    length: { value: method.length, configurable: true },
  });
  // A wrapper may inherit what is known of the method that it wraps.
  for (const key of Reflect.getMetadataKeys(method)) {
    Reflect.defineMetadata(key, Reflect.getMetadata(key, method), watched);
  }
  Reflect.defineMetadata(WATCHED, watched, watched);
  return watched;
}

/**
 * Watches methods that another decorator has wrapped after `@Idempotent()`, as those of transactions, traces and measurements do:
 * what the wrapper does, such as to commit, is the handler's, too. Watches as well what another decorator has added to a class
 * after `@Idempotent()`, as those that generate controllers do. To be called before Nest looks for routes.
 */
export function watchWrappedHandlers(modules: Iterable<Classes>): void {
  for (const { controllers, providers } of modules) {
    for (const { metatype } of [...controllers.values(), ...providers.values()]) {
      const prototype = typeof metatype === 'function' ? (metatype.prototype as object | undefined) : undefined;
      if (!prototype) continue;
      watchWrapped(prototype);
      if (isMarkedIdempotent(metatype as object)) watchMethods(prototype);
    }
  }
}

/**
 * Watches the methods of a class that some decorator has described, as handlers are; helpers stay as they are. Those of a base
 * class too, for this class alone.
 */
export function watchMethods(prototype: object): void {
  for (let at = prototype; at && at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const name of Object.getOwnPropertyNames(at)) {
      const descriptor = Object.getOwnPropertyDescriptor(at, name)!;
      if (name === 'constructor' || typeof descriptor.value !== 'function') continue;
      if (Reflect.getOwnMetadataKeys(descriptor.value as object).length === 0) continue;
      if (at !== prototype && Object.hasOwn(prototype, name)) continue;
      const watched = watchHandler(descriptor.value as Method);
      if (at !== prototype || (watched !== descriptor.value && descriptor.configurable))
        Object.defineProperty(prototype, name, { ...descriptor, value: watched });
    }
  }
}

function watchWrapped(prototype: object): void {
  for (let at = prototype; at && at !== Object.prototype; at = Object.getPrototypeOf(at) as object) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      const method: unknown = descriptor.value;
      if (name === 'constructor' || typeof method !== 'function' || !isMarkedIdempotent(method)) continue;
      const watched = watchHandler(method as Method);
      if (watched !== method && descriptor.configurable)
        Object.defineProperty(at, name, { ...descriptor, value: watched });
    }
  }
}

/** A stream is followed to its end, and work that the handler leaves to others until it is done. */
function watchValue(value: unknown, execution: CurrentExecution): unknown {
  return isObservable(value) ? followed(value, execution) : watchWork(value, execution);
}

/**
 * Watches what a handler returns for an interceptor to do, as those of ts-rest: a function, or an object of functions by
 * their names. Other values stay as they are.
 */
function watchWork(value: unknown, execution: CurrentExecution): unknown {
  if (typeof value === 'function') return watchedWork(value as Method, execution);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  for (const name in value) if (typeof (value as Record<string, unknown>)[name] !== 'function') return value;
  const members = Object.entries(value);
  return members.length === 0
    ? value
    : Object.fromEntries(members.map(([name, work]) => [name, watchedWork(work as Method, execution)]));
}

function watchedWork(work: Method, execution: CurrentExecution): Method {
  return function (this: unknown, ...args) {
    return execution.calls.runWork(() => runWithin(execution, () => work.apply(this, args)));
  };
}

function followed(stream: Observable<unknown>, execution: CurrentExecution): unknown {
  return runWithin(execution, () => (execution.follow ? execution.follow(stream, execution) : lastValueFrom(stream)));
}
