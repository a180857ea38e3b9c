import type { Wrapper } from '../handlers/routes.js';
import { commandOf, eventsOf, isInjectable, listensTo, sagasOf } from '../private-names/nest.js';
import { methodSource, parameterNames } from './method-source.js';

/** The events that a saga of @nestjs/cqrs picks. */
const OF_TYPE = /\bofType\s*\(([^)]*)\)/g;

/** A method of an instance. */
export interface Method {
  readonly target: object;
  readonly method: string;
}

/** The application's instances, what Nest has injected into them, and which of their methods are called for an event or a command. */
export class ProviderGraph {
  private readonly wrappers = new Map<unknown, Wrapper>();
  /** By their classes. */
  private readonly instances = new Map<unknown, object>();
  /** By the name of their event, which may have wildcards. */
  private readonly listeners = new Map<string, string>();
  private readonly commandHandlers = new Map<string, object>();
  private readonly eventHandlers = new Map<string, string>();

  constructor(wrappers: readonly Wrapper[]) {
    for (const wrapper of wrappers) {
      const { instance, metatype } = wrapper;
      if (!instance || typeof instance !== 'object') continue;
      this.wrappers.set(instance, wrapper);
      if (!this.instances.has(metatype)) this.instances.set(metatype, instance);
      if (typeof metatype !== 'function' || !metatype.prototype) continue;
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(metatype.prototype as object))) {
        if (!isAsync(value)) continue;
        const method = `${metatype.name}.${name}`;
        listensTo(value).forEach((event) => this.listeners.set(event, method));
        if (name === 'handle') eventsOf(metatype).forEach((event) => this.eventHandlers.set(event, method));
      }
      const command = commandOf(metatype);
      if (command !== undefined) this.commandHandlers.set(command, instance);
      for (const name of sagasOf(metatype)) {
        const events = eventsIn(methodSource(instance, name) ?? '');
        events.forEach((event) => this.eventHandlers.set(event, `${metatype.name}.${name}`));
      }
    }
  }

  instanceOf(metatype: unknown): object | undefined {
    return this.instances.get(metatype);
  }

  /** Whether a value is a provider with methods that can be read, too. */
  isService(value: unknown): value is object {
    return this.wrappers.has(value) && isInjectable(read(value, 'constructor'));
  }

  /** Returns an asynchronous listener of @nestjs/event-emitter to an event, or to any event where its name is not known. */
  listenerOf(event: string | undefined): string | undefined {
    for (const [pattern, listener] of this.listeners) {
      if (event === undefined || pattern === event || asWildcards(pattern)?.test(event)) return listener;
    }
    return undefined;
  }

  /** Returns the handlers of @nestjs/cqrs for commands of these names. */
  commandHandlersOf(commands: readonly string[]): Method[] {
    return commands.flatMap((name) => {
      const target = this.commandHandlers.get(name);
      return target ? [{ target, method: 'execute' }] : [];
    });
  }

  /** Returns the asynchronous handlers of @nestjs/cqrs, and the sagas, for events of these names. */
  eventHandlersOf(events: readonly string[]): string[] {
    return events.flatMap((name) => this.eventHandlers.get(name) ?? []);
  }

  get hasEventHandlers(): boolean {
    return this.eventHandlers.size > 0;
  }

  /** Returns a member of an instance. Where each request gets an instance, Nest keeps an empty one, with the dependencies beside it. */
  member(target: object, name: string): unknown {
    const value = name.startsWith('#') ? undefined : read(target, name);
    const wrapper = value === undefined ? this.wrappers.get(target) : undefined;
    if (!wrapper?.metatype) return value;
    const plain = name.replace('#', '');
    const ofProperty = wrapper.getPropertiesMetadata()?.find(({ key }) => key === plain)?.wrapper;
    const index = parameterNames(wrapper.metatype).indexOf(plain);
    return (ofProperty ?? wrapper.getCtorMetadata()?.[index])?.instance as unknown;
  }
}

/** Returns the events that a saga picks. */
function eventsIn(source: string): string[] {
  return [...source.matchAll(OF_TYPE)].flatMap(([, names]) => names.match(/[\w$]+(?=\s*(?:,|$))/g) ?? []);
}

/** Returns a name of @nestjs/event-emitter with wildcards as an expression. */
function asWildcards(pattern: string): RegExp | undefined {
  if (!pattern.includes('*')) return undefined;
  return new RegExp(`^${pattern.replace(/[^\w*]/g, '\\$&').replace(/\*+/g, '.+')}$`);
}

export function isAsync(value: unknown): value is object {
  return typeof value === 'function' && Object.prototype.toString.call(value) === '[object AsyncFunction]';
}

/** Returns a member of a value. A getter may throw, as a proxy of a request that has not come does. */
export function read(value: unknown, name: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}
