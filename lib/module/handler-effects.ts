import { isInjectable, listensTo } from '../handlers/nest-decorators.js';
import type { Route, Wrapper } from '../handlers/routes.js';
import { type KnownClient, knownClient } from './known-clients.js';
import { chainsIn, endOf, LEFT_OUT, methodSource, parameterNames, withoutArguments } from './method-source.js';

/** How many calls deep a handler is followed: from it into services, and into what these call. */
const DEPTH = 6;

/** Steps, and what gets the execution beside a function, which may run it in the operation's transaction. */
const ON_RECORD = /\.\s*step\s*\(|\(\s*execution\s*,(?=[^()]*(?:=>|\bfunction\b|\([^()]*\)\s*=>))/;

/** What gives a downstream call a key, by which the other side recognises a repetition. */
const BY_KEY = /deriveKey|idempoten|jobId|messageId|dedup/i;
const ASSIGNMENT = /\b([\w$]+)\s*=(?![=>])\s*([^;]*)/g;

const FETCH = /(?<![\w$.])fetch\s*\(|\baxios(?:_1\.default)?\s*\.\s*(?:post|put|patch|delete)\s*\(/g;
const CHANGING = /\bmethod\s*:\s*['"`](?:POST|PUT|PATCH|DELETE)/i;

/** Timers, and listeners that wait for the end of the response. */
const LATER =
  /(?:setTimeout|setImmediate|queueMicrotask|process\s*\.\s*nextTick|(?:res|response|reply|raw)\s*\.\s*(?:on|once)(?=\s*\(\s*['"](?:finish|close)))\s*\(/g;
const UNAWAITED_LOOP = /\.\s*forEach\s*\(\s*async\b/;

/** The loser goes on, mostly beside a time-out that has freed the key. */
const RACE = /\bPromise\s*\.\s*(race|any)\s*\(/g;

/** What a handler does, or a method that it calls. */
export interface Finding {
  readonly kind: KnownClient['kind'] | 'unawaited';
  /** Such as `Prisma by this.prisma in OrdersService.place`. */
  readonly text: string;
}

/** A method of an instance, and the way to it. */
interface Call {
  readonly target: object;
  readonly method: string;
  readonly depth: number;
  /** Whether the caller gave it a key. */
  readonly isByKey: boolean;
}

/**
 * Reads handlers, and the methods that they call on injected providers, for effects that an idempotent operation cannot hold. It reads
 * source text and runs nothing: it sees what is written as `this.client.method()`, and not what is imported.
 */
export class HandlerEffects {
  private readonly wrappers = new Map<unknown, Wrapper>();
  /** The asynchronous listeners of each event of @nestjs/event-emitter. */
  private readonly listeners = new Map<string, string>();

  constructor(wrappers: readonly Wrapper[]) {
    for (const wrapper of wrappers) {
      const { instance, metatype } = wrapper;
      if (!instance || typeof instance !== 'object') continue;
      this.wrappers.set(instance, wrapper);
      if (typeof metatype !== 'function' || !metatype.prototype) continue;
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(metatype.prototype as object))) {
        if (isAsync(value)) listensTo(value).forEach((event) => this.listeners.set(event, `${metatype.name}.${name}`));
      }
    }
  }

  /** Returns the findings of a handler, each once. */
  of({ controller, method }: Route): Finding[] {
    const found = new Map<string, Finding>();
    const target = [...this.wrappers].find(([, { metatype }]) => metatype === controller)?.[0] as object | undefined;
    const seen = new Map<object, Set<string>>();
    const calls: Call[] = target ? [{ target, method, depth: DEPTH, isByKey: false }] : [];
    for (let call = calls.pop(); call; call = calls.pop()) {
      const methods = seen.get(call.target) ?? new Set();
      if (call.depth === 0 || methods.has(call.method)) continue;
      seen.set(call.target, methods.add(call.method));
      for (const finding of this.visit(call, calls)) found.set(`${finding.kind} ${finding.text}`, finding);
    }
    return [...found.values()];
  }

  /** @param calls receives what the method calls */
  private *visit({ target, method, depth, isByKey }: Call, calls: Call[]): Iterable<Finding> {
    const whole = methodSource(target, method);
    if (whole === undefined) return;
    const place = `in ${target.constructor.name}.${method}`;
    const source = withoutArguments(whole, ON_RECORD);
    const keys = keysIn(source);
    const hasKey = (args: string) =>
      isByKey || BY_KEY.test(args) || (args.match(/[\w$]+/g) ?? []).some((one) => keys.has(one));
    for (const chain of chainsIn(source)) {
      if (chain.args === LEFT_OUT) continue;
      const [name, called] = chain.names;
      const value = this.member(target, name);
      const client = knownClient(value);
      const next = { depth: depth - 1, isByKey: hasKey(chain.args) };
      if (client) {
        if (!next.isByKey && client.acts(chain)) {
          yield { kind: client.kind, text: `${client.name} by this.${name} ${place}` };
        }
      } else if (chain.isCall && typeof value === 'function') {
        calls.push({ target, method: name, ...next });
      } else if (called !== undefined && this.wrappers.has(value) && isInjectable((value as object).constructor)) {
        calls.push({ target: value as object, method: called, ...next });
      } else if (called === 'emit') {
        const listener = this.listeners.get(/^\(\s*['"`]([^'"`]+)/.exec(chain.args)?.[1] ?? '');
        if (listener) yield { kind: 'unawaited', text: `this.${name}.emit() ${place}, for ${listener}` };
      }
    }
    for (const { 0: call, index } of source.matchAll(FETCH)) {
      const args = source.slice(index + call.length - 1, endOf(source, index + call.length - 1));
      if ((call.startsWith('fetch') && !CHANGING.test(args)) || hasKey(args)) continue;
      yield { kind: 'messenger', text: `HTTP ${place}` };
    }
    for (const text of this.unawaited(target, whole)) yield { kind: 'unawaited', text: `${text} ${place}` };
  }

  /** Returns the calls in a method that it does not wait for. */
  private *unawaited(target: object, source: string): Iterable<string> {
    for (const chain of chainsIn(source)) {
      const before = source.slice(0, chain.start).trimEnd();
      const isVoid = /\bvoid$/.test(before);
      if (!chain.endsInCall || !(isVoid || /[;{})]$|\belse$/.test(before))) continue;
      if (!/^\s*[;}]/.test(source.slice(chain.end)) && !isVoid) continue;
      const names = chain.names.filter((name) => !/^(then|catch|finally)$/.test(name));
      const isHandled = names.length < chain.names.length;
      const callee = this.callee(target, names);
      if (callee && (isVoid || isHandled || isAsync(callee))) yield `this.${names.join('.')}()`;
    }
    for (const { 0: call, index } of source.matchAll(LATER)) {
      const open = index + call.length - 1;
      const args = source.slice(open, endOf(source, open));
      if (/[;{})]$/.test(source.slice(0, index).trimEnd()) && hasCall(args)) {
        yield `${call.slice(0, -1).replace(/\s/g, '')}()`;
      }
    }
    if (UNAWAITED_LOOP.test(source)) yield 'forEach() with an async function';
    for (const { 0: call, 1: name, index } of source.matchAll(RACE)) {
      const open = index + call.length - 1;
      if (hasCall(source.slice(open, endOf(source, open)))) yield `Promise.${name}()`;
    }
  }

  /** Returns the method that `this.a()` or `this.a.b()` calls. */
  private callee(target: object, [name, method, ...rest]: readonly string[]): unknown {
    if (name === undefined || rest.length > 0) return undefined;
    const value = this.member(target, name);
    return method === undefined ? value : read(value, method);
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

function hasCall(source: string): boolean {
  return chainsIn(source).some(({ endsInCall }) => endsInCall);
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
