import type { Type } from '@nestjs/common';
import type { Route, Wrapper } from '../handlers/routes.js';
import { isNative } from '../private-names/nest.js';
import {
  followsCallers,
  isOfTypeOrm,
  type KnownClient,
  knownClient,
  TYPEORM,
  WRITES_OF_TYPEORM,
} from './known-clients.js';
import { argumentsAt, type Chain, chainsIn, definitionOf, LEFT_OUT, withoutArguments } from './method-source.js';
import { type Method, ProviderGraph, read } from './provider-graph.js';
import { unawaitedCalls } from './unawaited-calls.js';

/** How many calls deep a handler is followed: from it into services, and into what these call. */
const MAX_DEPTH = 6;

/** Calls of `step()`, and calls that get the execution and a function, which they may run in the operation's transaction. */
const ON_RECORD = /\.\s*step\s*\(|\(\s*execution\s*,(?=[^()]*(?:=>|\bfunction\b|\([^()]*\)\s*=>))/;

/** Arguments that contain a key, by which the other side recognises a repetition. */
const BY_KEY = /deriveKey|idempoten|jobId|messageId|dedup/i;

/** What carries a transaction to another method. */
const CARRIER = /execution|manager|queryRunner|\b(?:em|tx|trx|m|repo)\b/i;
/** A choice by it: `if (manager)`, `manager ? …`, `manager ?? …`. A method without one writes on a connection of its own. */
const CHOICE =
  /(?:\bif\s*\(\s*!*\s*[\w.?]*(?:execution|manager|queryRunner|\b(?:em|tx|trx|m|repo))\b)|(?:execution|manager|queryRunner|\b(?:em|tx|trx|m|repo))\b[\s!=\w]*(?:\?(?!\.)|\|\|)/i;

const ASSIGNMENT = /\b([\w$]+)\s*=(?![=>])\s*([^;]*)/g;

const FETCH = /(?<![\w$.])fetch\s*\(|\baxios(?:_1\.default)?\s*\.\s*(?:post|put|patch|delete)\s*\(/g;
const CHANGING = /\bmethod\s*:\s*['"`](?:POST|PUT|PATCH|DELETE)/i;

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

/** A method, and the way to it. */
interface Call extends Method {
  /** Where to look for the method: the instance, or for `super.method()` the class above. */
  readonly from: object;
  readonly levelsLeft: number;
  /** Whether the caller gave it a key. */
  readonly isByKey: boolean;
  /** Whether the caller gave it what carries a transaction. */
  readonly isCarried: boolean;
  /** Whether callbacks that answer are waited for. */
  readonly answers: boolean;
}

/**
 * Reads handlers, and the methods that they call on injected providers, for effects that an idempotent operation cannot hold. It reads
 * source text and runs nothing: it sees what is written as `this.client.method()`, and not what is imported.
 */
export class HandlerEffects {
  private readonly providers: ProviderGraph;

  /** @param hasHost whether a transaction host begins the transactions, which injected repositories may follow */
  constructor(
    wrappers: readonly Wrapper[],
    private readonly hasHost: boolean,
  ) {
    this.providers = new ProviderGraph(wrappers);
  }

  /** Returns the findings of a handler, each once. */
  of({ controller, handler, method }: Route): Finding[] {
    const answers = isNative(controller as Type, handler);
    const found = new Map<string, Finding>();
    const target = this.providers.instanceOf(controller);
    const seen = new Map<object, Set<string>>();
    const calls: Call[] = target
      ? [{ target, from: target, method, levelsLeft: MAX_DEPTH, isByKey: false, isCarried: false, answers }]
      : [];
    for (let call = calls.pop(); call; call = calls.pop()) {
      const methods = seen.get(call.target) ?? new Set();
      const visit = `${call.from.constructor.name} ${call.method} ${call.isByKey} ${call.isCarried}`;
      if (call.levelsLeft === 0 || methods.has(visit)) continue;
      seen.set(call.target, methods.add(visit));
      for (const finding of this.visit(call, calls)) found.set(`${finding.kind} ${finding.text}`, finding);
    }
    return [...found.values()];
  }

  /** @param calls receives the methods that this one calls */
  private *visit(call: Call, calls: Call[]): Iterable<Finding> {
    const { target, from, method, isByKey, isCarried, answers } = call;
    const definition = definitionOf(from, method);
    if (!definition) return;
    const { source: whole, owner } = definition;
    const place = `in ${target.constructor.name}.${method}`;
    const source = withoutArguments(whole, ON_RECORD);
    const keys = keysIn(source);
    const hasKey = (args: string) =>
      isByKey || BY_KEY.test(args) || (args.match(/[\w$]+/g) ?? []).some((one) => keys.has(one));
    const chooses = isCarried && CHOICE.test(source);
    const follow = (callee: Pick<Call, 'target' | 'from' | 'method'>, args: string) =>
      calls.push({
        ...callee,
        levelsLeft: call.levelsLeft - 1,
        isByKey: hasKey(args),
        isCarried: chooses || CARRIER.test(args),
        answers,
      });
    for (const chain of chainsIn(source)) {
      if (chain.args === LEFT_OUT) continue;
      const value = this.providers.member(target, chain.names[0]);
      const isJoined =
        ((isOfTypeOrm(value) || isServed(value, chain)) && (chooses || joins(chain))) ||
        (this.hasHost && (isServed(value, chain) || [value, target].some(followsCallers)));
      const isOnRecord = isJoined || hasKey(chain.args);
      yield* this.effectsOf(withText(chain, source), target, isOnRecord, place);
      const callees = this.calleesOf(chain, target, source);
      for (const callee of callees) follow({ ...callee, from: callee.target }, chain.args);
      if (callees.length === 0) yield* this.emissionOf(chain, target, place);
      yield* this.publicationOf(chain, target, source, place);
    }
    for (const { names, args } of chainsIn(source, 'super')) {
      follow({ target, from: Object.getPrototypeOf(owner) as object, method: names[0] }, args);
    }
    for (const { 0: start, index } of source.matchAll(FETCH)) {
      const args = argumentsAt(source, index + start.length - 1);
      const isRead = start.startsWith('fetch') && !CHANGING.test(args);
      if (!isRead && !hasKey(args)) yield { kind: 'messenger', text: `HTTP ${place}` };
    }
    for (const { text, args } of unawaitedCalls(whole, (name) => this.providers.member(target, name))) {
      if (!(answers && ANSWERS.test(args))) yield { kind: 'unawaited', text: `${text} ${place}` };
    }
  }

  /** Returns the effects of a use of a member, such as `this.client.method()`. */
  private *effectsOf(chain: Chain, target: object, isOnRecord: boolean, place: string): Iterable<Finding> {
    const [name, called] = chain.names;
    const value = this.providers.member(target, name);
    if (called !== undefined && EARLY_HOOKS.some((hook) => typeof read(value, hook) === 'function')) {
      yield { kind: 'closes early', text: (value as object).constructor.name };
    }
    const client = knownClient(value) ?? (isServed(value, chain) ? TYPEORM : undefined);
    if (client && !isOnRecord && client.acts(chain)) {
      yield { kind: client.kind, text: `${client.name} by this.${name} ${place}` };
    }
  }

  /** Returns the event that a use of an emitter emits, if an asynchronous method listens to it: `emit()` does not wait for it. */
  private *emissionOf({ names: [name, called], args }: Chain, target: object, place: string): Iterable<Finding> {
    const emitter = this.providers.member(target, name);
    if (called !== 'emit' || knownClient(emitter)) return;
    const event = /^\(\s*['"`]([^'"`$]+)['"`]/.exec(args)?.[1];
    // The name is in a constant. Other things than an emitter have an `emit()`, too.
    if (event === undefined && typeof read(emitter, 'emitAsync') !== 'function') return;
    const listener = this.providers.listenerOf(event);
    const isFor = event === undefined ? 'perhaps for' : 'for';
    if (listener) yield { kind: 'unawaited', text: `this.${name}.emit() ${place}, ${isFor} ${listener}` };
  }

  /** Returns the events that a method publishes by @nestjs/cqrs, which waits for no handler. An aggregate publishes events of its own. */
  private *publicationOf(
    { names: [name, called] }: Chain,
    target: object,
    source: string,
    place: string,
  ): Iterable<Finding> {
    if (!this.providers.hasEventHandlers) return;
    const what = `this.${name}.${called}() ${place}, for`;
    if (called === 'mergeObjectContext' || called === 'mergeClassContext') {
      yield { kind: 'unawaited', text: `${what} handlers of what commit() publishes` };
    }
    // A broker's client publishes too, and has no publishAll().
    if (!called?.startsWith('publish') || typeof read(this.providers.member(target, name), 'publishAll') !== 'function')
      return;
    for (const handler of this.providers.eventHandlersOf(constructedIn(source))) {
      yield { kind: 'unawaited', text: `${what} ${handler}` };
    }
  }

  /** Returns the methods that a use of a member calls: one of the same instance or of a provider, or the handlers of commands. */
  private calleesOf({ names, isCall }: Chain, target: object, source: string): Method[] {
    const [name, called] = names;
    const value = this.providers.member(target, name);
    const callees = called === 'execute' ? this.providers.commandHandlersOf(constructedIn(source)) : [];
    if (!isOfTypeOrm(value) && knownClient(value)) return callees;
    if (isCall && typeof value === 'function') callees.push({ target, method: name });
    else if (called !== undefined && this.providers.isService(value)) callees.push({ target: value, method: called });
    return callees;
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

/** Whether a use is of a repository that a service of the application gives. Under a host, nothing is known of its transaction. */
function isServed(value: unknown, { names }: Chain): boolean {
  return !isOfTypeOrm(value) && names.indexOf('getRepository') > 0;
}

/** Whether a use of TypeORM is given the transaction: `this.orders.within(manager).save()`, or the query runner of a query. */
function joins({ names, args }: Chain): boolean {
  if (names.includes('transaction')) return false;
  return /queryRunner/i.test(args) || (!WRITES_OF_TYPEORM.test(names[1]) && CARRIER.test(args));
}

/** Returns a use whose first argument is a variable with that variable's text, such as a statement. */
function withText(chain: Chain, source: string): Chain {
  const name = /^\(\s*([\w$]+)\s*[,)]/.exec(chain.args)?.[1];
  if (name === undefined) return chain;
  const assigned = new RegExp(`\\bconst\\s+${name.replaceAll('$', '\\$')}\\s*=\\s*(\`[^\`]*\`|'[^']*'|"[^"]*")`).exec(
    source,
  );
  return assigned ? { ...chain, args: `(${assigned[1]})` } : chain;
}

function constructedIn(source: string): string[] {
  return [...source.matchAll(CONSTRUCTED)].map(([, name]) => name);
}
