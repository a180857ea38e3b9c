import type { Type } from '@nestjs/common';
import { DataSource, EntityManager, Repository } from 'typeorm';
import { commandOf, eventsOf, isInjectable, isNative, listensTo } from '../private-names/nest.js';
import type { Route, Wrapper } from '../handlers/routes.js';
import { type KnownClient, knownClient } from './known-clients.js';
import {
  type Chain,
  chainsIn,
  endOf,
  LEFT_OUT,
  methodSource,
  parameterNames,
  withoutArguments,
} from './method-source.js';

/** How many calls deep a handler is followed: from it into services, and into what these call. */
const MAX_DEPTH = 6;

/** Calls of `step()`, and calls that get the execution and a function, which they may run in the operation's transaction. */
const ON_RECORD = /\.\s*step\s*\(|\(\s*execution\s*,(?=[^()]*(?:=>|\bfunction\b|\([^()]*\)\s*=>))/;

/** Arguments that contain a key, by which the other side recognises a repetition. */
const BY_KEY = /deriveKey|idempoten|jobId|messageId|dedup/i;
const ASSIGNMENT = /\b([\w$]+)\s*=(?![=>])\s*([^;]*)/g;

const FETCH = /(?<![\w$.])fetch\s*\(|\baxios(?:_1\.default)?\s*\.\s*(?:post|put|patch|delete)\s*\(/g;
const CHANGING = /\bmethod\s*:\s*['"`](?:POST|PUT|PATCH|DELETE)/i;

/** Timers, and listeners that wait for the end of the response. */
const LATER =
  /(?:setTimeout|setImmediate|queueMicrotask|process\s*\.\s*nextTick|(?:res|response|reply|raw)\s*\.\s*(?:on|once)(?=\s*\(\s*['"](?:finish|close)))\s*\(/g;
const UNAWAITED_LOOP = /\.\s*forEach\s*\(\s*async\b/;

/** The loser of a race still runs, often after a time-out has freed the key. */
const RACE = /\bPromise\s*\.\s*(race|any)\s*\(/g;

/** What a method constructs: commands and events, for example. Compilers may put the name of a module before that of the class. */
const CONSTRUCTED = /\bnew\s+(?:[\w$]+\.)*([\w$]+)\s*\(/g;

/** A handler with a native `@Res()` ends when its response does: a callback that answers is waited for. */
const ANSWERS = /\.\s*(?:send|json|jsonp|end|redirect|render|sendFile|sendStatus|download)\s*\(/;

/** Hooks that Nest calls before running handlers have ended. The library's module is global, and so the last of which they are called. */
const EARLY_HOOKS = ['onModuleDestroy', 'beforeApplicationShutdown'];

/** What a handler does, or a method that it calls. */
export interface Finding {
  readonly kind: KnownClient['kind'] | 'unawaited' | 'closes early';
  /** Such as `Prisma by this.prisma in OrdersService.place`. */
  readonly text: string;
}

/** A method of an instance, and the way to it. */
interface Call {
  readonly target: object;
  readonly method: string;
  readonly levelsLeft: number;
  /** Whether the caller gave it a key. */
  readonly isByKey: boolean;
  /** Whether callbacks that answer are waited for. */
  readonly answers: boolean;
}

/**
 * Reads handlers, and the methods that they call on injected providers, for effects that an idempotent operation cannot hold. It reads
 * source text and runs nothing: it sees what is written as `this.client.method()`, and not what is imported.
 */
export class HandlerEffects {
  private readonly wrappers = new Map<unknown, Wrapper>();
  /** By their classes. */
  private readonly instances = new Map<unknown, object>();
  /** The asynchronous listeners of each event of @nestjs/event-emitter. */
  private readonly listeners = new Map<string, string>();
  /** The handlers of @nestjs/cqrs by the name of their command, and the asynchronous ones by that of their event. */
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
    }
  }

  /** Returns the findings of a handler, each once. */
  of({ controller, handler, method }: Route): Finding[] {
    const answers = isNative(controller as Type, handler);
    const found = new Map<string, Finding>();
    const target = this.instances.get(controller);
    const seen = new Map<object, Set<string>>();
    const calls: Call[] = target ? [{ target, method, levelsLeft: MAX_DEPTH, isByKey: false, answers }] : [];
    for (let call = calls.pop(); call; call = calls.pop()) {
      const methods = seen.get(call.target) ?? new Set();
      const visit = `${call.method} ${call.isByKey}`;
      if (call.levelsLeft === 0 || methods.has(visit)) continue;
      seen.set(call.target, methods.add(visit));
      for (const finding of this.visit(call, calls)) found.set(`${finding.kind} ${finding.text}`, finding);
    }
    return [...found.values()];
  }

  /** @param calls receives the methods that this one calls */
  private *visit(call: Call, calls: Call[]): Iterable<Finding> {
    const { target, method, isByKey, answers } = call;
    const whole = methodSource(target, method);
    if (whole === undefined) return;
    const place = `in ${target.constructor.name}.${method}`;
    const source = withoutArguments(whole, ON_RECORD);
    const keys = keysIn(source);
    const hasKey = (args: string) =>
      isByKey || BY_KEY.test(args) || (args.match(/[\w$]+/g) ?? []).some((one) => keys.has(one));
    for (const chain of chainsIn(source)) {
      if (chain.args === LEFT_OUT) continue;
      yield* this.effectsOf(chain, target, hasKey(chain.args), place);
      const callee = this.calleeOf(chain, target);
      for (const one of [...(callee ? [callee] : []), ...this.commandHandlersOf(chain, source)]) {
        calls.push({ ...one, levelsLeft: call.levelsLeft - 1, isByKey: hasKey(chain.args), answers });
      }
      if (!callee) yield* this.emissionOf(chain, target, place);
      yield* this.publicationOf(chain, target, source, place);
    }
    for (const { 0: start, index } of source.matchAll(FETCH)) {
      const args = argumentsAt(source, index + start.length - 1);
      const isRead = start.startsWith('fetch') && !CHANGING.test(args);
      if (!isRead && !hasKey(args)) yield { kind: 'messenger', text: `HTTP ${place}` };
    }
    for (const { text, args } of this.unawaited(target, whole)) {
      if (!(answers && ANSWERS.test(args))) yield { kind: 'unawaited', text: `${text} ${place}` };
    }
  }

  /** Returns the effects of a use of a member, such as `this.client.method()`. */
  private *effectsOf(chain: Chain, target: object, hasKey: boolean, place: string): Iterable<Finding> {
    const [name, called] = chain.names;
    const value = this.member(target, name);
    if (called !== undefined && EARLY_HOOKS.some((hook) => typeof read(value, hook) === 'function')) {
      yield { kind: 'closes early', text: (value as object).constructor.name };
    }
    const client = knownClient(value);
    if (client && !hasKey && client.acts(chain)) {
      yield { kind: client.kind, text: `${client.name} by this.${name} ${place}` };
    }
  }

  /** Returns the event that a use of an emitter emits, if an asynchronous method listens to it: `emit()` does not wait for it. */
  private *emissionOf({ names: [name, called], args }: Chain, target: object, place: string): Iterable<Finding> {
    if (called !== 'emit' || knownClient(this.member(target, name))) return;
    const listener = this.listeners.get(/^\(\s*['"`]([^'"`]+)/.exec(args)?.[1] ?? '');
    if (listener) yield { kind: 'unawaited', text: `this.${name}.emit() ${place}, for ${listener}` };
  }

  /** Returns the handlers of the commands that a method constructs and executes, by @nestjs/cqrs. */
  private commandHandlersOf({ names }: Chain, source: string): Pick<Call, 'target' | 'method'>[] {
    if (names[1] !== 'execute' || this.commandHandlers.size === 0) return [];
    return constructedIn(source).flatMap((name) => {
      const target = this.commandHandlers.get(name);
      return target ? [{ target, method: 'execute' }] : [];
    });
  }

  /** Returns the events that a method publishes by @nestjs/cqrs, which waits for no handler. An aggregate publishes events of its own. */
  private *publicationOf(
    { names: [name, called] }: Chain,
    target: object,
    source: string,
    place: string,
  ): Iterable<Finding> {
    if (this.eventHandlers.size === 0) return;
    const what = `this.${name}.${called}() ${place}, for`;
    if (called === 'mergeObjectContext' || called === 'mergeClassContext') {
      yield { kind: 'unawaited', text: `${what} handlers of what commit() publishes` };
    }
    // A broker's client publishes too, and has no publishAll().
    if (!called?.startsWith('publish') || typeof read(this.member(target, name), 'publishAll') !== 'function') return;
    for (const event of constructedIn(source)) {
      const handler = this.eventHandlers.get(event);
      if (handler) yield { kind: 'unawaited', text: `${what} ${handler}` };
    }
  }

  /** Returns the method that a use of a member calls, if it is to be read, too: one of the same instance, or of a provider. */
  private calleeOf({ names, isCall }: Chain, target: object): Pick<Call, 'target' | 'method'> | undefined {
    const [name, called] = names;
    const value = this.member(target, name);
    if (knownClient(value)) return undefined;
    if (isCall && typeof value === 'function') return { target, method: name };
    if (called === undefined || !this.wrappers.has(value) || !isInjectable(read(value, 'constructor')))
      return undefined;
    return { target: value as object, method: called };
  }

  /** Returns the calls in a method that it does not wait for. */
  private *unawaited(target: object, source: string): Iterable<{ text: string; args: string }> {
    for (const chain of chainsIn(source)) {
      const waits = waitsFor(source, chain);
      if (waits === 'waited for') continue;
      const names = chain.names.filter((name) => !/^(then|catch|finally)$/.test(name));
      const isHandled = names.length < chain.names.length;
      const owner = this.member(target, names[0]);
      const callee = names.slice(1).reduce(read, owner);
      if (typeof callee !== 'function') continue;
      if (waits === 'void' || isHandled || isAsync(callee) || isWriteOfTypeOrm(owner, names[1])) {
        yield { text: `this.${names.join('.')}()`, args: chain.args };
      }
    }
    for (const chain of chainsIn(source, 'execution')) {
      const [manager, method = ''] = chain.names;
      if (manager !== 'manager' || !WRITES_OF_TYPEORM.test(method) || waitsFor(source, chain) === 'waited for')
        continue;
      yield { text: `execution.manager.${method}()`, args: chain.args };
    }
    for (const { 0: call, index } of source.matchAll(LATER)) {
      const args = argumentsAt(source, index + call.length - 1);
      if (/[;{})]$/.test(source.slice(0, index).trimEnd()) && hasCall(args)) {
        yield { text: `${call.slice(0, -1).replace(/\s/g, '')}()`, args };
      }
    }
    if (UNAWAITED_LOOP.test(source)) yield { text: 'forEach() with an async function', args: '' };
    for (const { 0: call, 1: name, index } of source.matchAll(RACE)) {
      if (hasCall(argumentsAt(source, index + call.length - 1))) yield { text: `Promise.${name}()`, args: '' };
    }
  }

  /** Returns a member of an instance. Where each request gets an instance, Nest keeps an empty one, with the dependencies beside it. */
  private member(target: object, name: string): unknown {
    const value = name.startsWith('#') ? undefined : read(target, name);
    const wrapper = value === undefined ? this.wrappers.get(target) : undefined;
    if (!wrapper?.metatype) return value;
    const plain = name.replace('#', '');
    const ofProperty = wrapper.getPropertiesMetadata()?.find(({ key }) => key === plain)?.wrapper;
    const index = parameterNames(wrapper.metatype).indexOf(plain);
    return (ofProperty ?? wrapper.getCtorMetadata()?.[index])?.instance as unknown;
  }
}

/** Returns the variables that hold a key, or something with a key in it. */
function keysIn(source: string): Set<string> {
  const keys = new Set<string>();
  for (const [, name, value] of source.matchAll(ASSIGNMENT)) {
    if (BY_KEY.test(value) || (value.match(/[\w$]+/g) ?? []).some((one) => keys.has(one))) keys.add(name);
  }
  return keys;
}

function constructedIn(source: string): string[] {
  return [...source.matchAll(CONSTRUCTED)].map(([, name]) => name);
}

/** Whether a call is a statement by itself. */
function waitsFor(source: string, { start, end, endsInCall }: Chain): 'waited for' | 'void' | 'not' {
  const before = source.slice(0, start).trimEnd();
  if (!endsInCall) return 'waited for';
  if (/\bvoid$/.test(before)) return 'void';
  return /([;{})]|\belse)$/.test(before) && /^\s*[;}]/.test(source.slice(end)) ? 'not' : 'waited for';
}

/** Methods of TypeORM that are not declared `async`, and return promises. */
const WRITES_OF_TYPEORM = /^(save|insert|update|upsert|delete|remove|soft\w+|increment|decrement|query|transaction)$/;

function isWriteOfTypeOrm(owner: unknown, method: string | undefined): boolean {
  const isOurs = owner instanceof Repository || owner instanceof EntityManager || owner instanceof DataSource;
  return isOurs && method !== undefined && WRITES_OF_TYPEORM.test(method);
}

/** Returns the arguments that begin with the parenthesis at `open`. */
function argumentsAt(source: string, open: number): string {
  return source.slice(open, endOf(source, open));
}

function hasCall(source: string): boolean {
  return [...chainsIn(source), ...chainsIn(source, 'execution')].some(({ endsInCall }) => endsInCall);
}

function isAsync(value: unknown): value is object {
  return typeof value === 'function' && Object.prototype.toString.call(value) === '[object AsyncFunction]';
}

/** A getter may throw, as a proxy of a request that has not come does. */
function read(value: unknown, name: string): unknown {
  try {
    return (value as Record<string, unknown> | null | undefined)?.[name];
  } catch {
    return undefined;
  }
}
