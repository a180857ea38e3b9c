import { AsyncResource } from 'node:async_hooks';
import { Readable } from 'node:stream';
import { EMPTY, lastValueFrom, type Observable } from 'rxjs';
import { current, type CurrentExecution, runWithin } from '../engine/current-execution.js';
import type { HandlerCall } from '../engine/handler-calls.js';
import { isObservable } from '../engine/observables.js';
import { isMarkedIdempotent } from './marking.js';

/** Metadata of a watched method: the method itself. A text that does not make a helper method look like a handler. */
const WATCHED = '__nestjs-idempotency:watched__';

/** The classes of a Nest module's controllers and providers. */
type Classes = Readonly<Record<'controllers' | 'providers', ReadonlyMap<unknown, { readonly metatype: unknown }>>>;

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Returns whether {@link watchHandler} made this method. A wrapper that has its metadata is another one. */
export function isWatched(method: unknown): boolean {
  return typeof method === 'function' && Reflect.getOwnMetadata(WATCHED, method) === method;
}

/** Returns the method behind one that {@link watchHandler} made, or the method itself. */
export function unwatched<T extends object>(method: T): T {
  return isWatched(method) ? (Object.getPrototypeOf(method) as T) : method;
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
 * Returns a method that reports the beginning and the end of each call to its execution. The pipeline does not always know them: a timeout
 * answers before the handler has ended, and a pipe or an interceptor before it begins. Outside of an execution, or called by a handler,
 * the method behaves as before.
 *
 * An Observable becomes the promise of its last value, which is what Nest sends over HTTP: Nest would unsubscribe from it when the client
 * goes away, and end the operation half way. The edge of message handlers follows all values instead.
 */
export function watchHandler(method: Method): Method {
  if (isWatched(method)) return method;
  const watched = function (this: unknown, ...args: unknown[]): unknown {
    const execution = current();
    if (!execution?.isHandler(watched) || execution.isOwnWork) return method.apply(this, args);
    return execution.call(() => method.apply(this, args), watchValue);
  };
  Object.defineProperties(watched, {
    name: { value: method.name, configurable: true },
    length: { value: method.length, configurable: true },
  });
  // Inherits the method's metadata. A copy would lack what a decorator above defines on the method that it finds in the class: the
  // roles that a guard asks for, for example.
  Object.setPrototypeOf(watched, method);
  Reflect.defineMetadata(WATCHED, watched, watched);
  return watched;
}

/**
 * Watches methods that another decorator has wrapped after `@Idempotent()`, as decorators of transactions and traces do. A wrapper's work,
 * such as its COMMIT, belongs to the handler: the key must not be free before it ends. Watches also methods that another decorator has
 * added to a class after `@Idempotent()`, as decorators that generate controllers do. Called before Nest registers routes.
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

/** Watches the methods with metadata, as handlers have. A base class stays as it is: it may serve other controllers. */
export function watchMethods(prototype: object): void {
  for (const { owner, name, descriptor, method } of methodsOf(prototype)) {
    if (Reflect.getMetadataKeys(method).length === 0) continue;
    if (owner !== prototype && Object.hasOwn(prototype, name)) continue;
    const watched = watchHandler(method);
    if (owner !== prototype || (watched !== method && descriptor.configurable))
      Object.defineProperty(prototype, name, { ...descriptor, value: watched });
  }
}

function watchWrapped(prototype: object): void {
  for (const { owner, name, descriptor, method } of methodsOf(prototype)) {
    if (!isMarkedIdempotent(method)) continue;
    const watched = watchHandler(method);
    if (watched !== method && descriptor.configurable)
      Object.defineProperty(owner, name, { ...descriptor, value: watched });
  }
}

/** Iterates over the methods of a class, and then over those of its base classes. */
function* methodsOf(prototype: object) {
  for (let owner = prototype; owner && owner !== Object.prototype; owner = Object.getPrototypeOf(owner) as object) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(owner))) {
      const method: unknown = descriptor.value;
      if (name !== 'constructor' && typeof method === 'function')
        yield { owner, name, descriptor, method: method as Method };
    }
  }
}

/** Follows a stream or an iteration to its end, and a function that the handler returns until it has run. */
function watchValue(value: unknown, execution: CurrentExecution): unknown {
  if (!execution.follow && isIterated(value)) watchIteration(value, execution);
  if (!isObservable(value)) return watchWork(value, execution);
  return runWithin(execution, () =>
    execution.follow ? execution.follow(value, execution) : lastValueOf(value as Observable<unknown>),
  );
}

/** An Observable that completes without a value has done its work. It stays one: only then does Nest answer as to the handler itself. */
function lastValueOf(values: Observable<unknown>): Promise<unknown> {
  return lastValueFrom(values, { defaultValue: EMPTY });
}

/** Watches functions that a handler returns for an interceptor to call, as ts-rest does: one, or an object of them. */
function watchWork(value: unknown, execution: CurrentExecution): unknown {
  if (typeof value === 'function') return watchedWork(value as Method, execution);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  if (!holdsFunctionsAlone(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, work]) => [name, watchedWork(work as Method, execution)]),
  );
}

function holdsFunctionsAlone(value: object): boolean {
  let isEmpty = true;
  try {
    for (const name in value) {
      if (typeof (value as Record<string, unknown>)[name] !== 'function') return false;
      isEmpty = false;
    }
  } catch {
    // A getter that throws must not fail the handler, which has succeeded: a retry would run it again.
    return false;
  }
  return !isEmpty;
}

function watchedWork(work: Method, execution: CurrentExecution): Method {
  return function (this: unknown, ...args) {
    return execution.calls.runWork(() => runWithin(execution, () => work.apply(this, args)));
  };
}

/**
 * Returns whether Nest 12 sends a value as it iterates over it, such as what an `async *` method returns. A `Readable` is followed by
 * the run, and a web stream is read without its iterator.
 */
function isIterated(value: unknown): value is AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || value instanceof Readable || 'getReader' in value) return false;
  return Symbol.asyncIterator in value && Object.isExtensible(value);
}

/**
 * Watches how a handler's value is iterated over. When the generator of a handler is returned, nothing of it has run: the handler ends
 * when its iteration does. Nest stops an iteration whose client has gone. Here it runs to its end, because half an operation
 * could neither be repeated nor be left.
 */
function watchIteration(value: AsyncIterable<unknown>, execution: CurrentExecution): void {
  const { calls } = execution;
  const inHandler = AsyncResource.bind((work: () => unknown) => runWithin(execution, work)) as <T>(work: () => T) => T;
  const open = value[Symbol.asyncIterator].bind(value);
  let iterator: AsyncIterator<unknown> | undefined;
  let call: HandlerCall | undefined;

  const next = async () => {
    const running = (call ??= calls.beginBody());
    try {
      const result = await inHandler(() => (iterator ??= open()).next());
      if (result.done) calls.settle(running, 'succeeded');
      return result;
    } catch (error) {
      calls.settle(running, 'failed', error);
      throw error;
    }
  };
  const runToEnd = async () => {
    while (!(await next()).done);
  };
  const watched: AsyncIterableIterator<unknown> = {
    [Symbol.asyncIterator]: () => watched,
    next,
    return(last?: unknown) {
      // Its error is that of the call.
      runToEnd().catch(() => undefined);
      return Promise.resolve({ done: true, value: last });
    },
  };
  Object.defineProperty(value, Symbol.asyncIterator, { value: () => watched, configurable: true });
}
