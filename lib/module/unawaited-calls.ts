import { isOfTypeOrm, WRITES_OF_TYPEORM } from './known-clients.js';
import { argumentsAt, type Chain, chainsIn } from './method-source.js';
import { isAsync, read } from './provider-graph.js';

/** Timers, listeners that wait for the end of the response, and what typeorm-transactional calls after COMMIT. */
const LATER =
  /(?:setTimeout|setImmediate|queueMicrotask|(?:\(0,\s*[\w$]+\.)?runOnTransaction(?:Commit|Complete)\)?|process\s*\.\s*nextTick|(?:res|response|reply|raw)\s*\.\s*(?:on|once)(?=\s*\(\s*['"](?:finish|close)))\s*\(/g;
const UNAWAITED_LOOP = /\.\s*forEach\s*\(\s*async\b/;

/** The loser of a race still runs, often after a time-out has freed the key. */
const RACE = /\bPromise\s*\.\s*(race|any)\s*\(/g;

interface UnawaitedCall {
  /** Such as `this.orders.save()`. */
  readonly text: string;
  readonly args: string;
}

/**
 * Returns the calls in a method that it does not wait for.
 *
 * @param member returns a member of `this`
 */
export function* unawaitedCalls(source: string, member: (name: string) => unknown): Iterable<UnawaitedCall> {
  for (const chain of chainsIn(source)) {
    const waits = waitsFor(source, chain);
    if (waits === 'waited for') continue;
    const names = chain.names.filter((name) => !/^(then|catch|finally)$/.test(name));
    const isHandled = names.length < chain.names.length;
    // An Observable begins its work when something subscribes to it.
    if (names.length > 2 && names.at(-1) === 'subscribe') {
      yield { text: `this.${names.join('.')}()`, args: chain.args };
      continue;
    }
    const owner = member(names[0]);
    const callee = names.slice(1).reduce(read, owner);
    if (typeof callee !== 'function') continue;
    if (waits === 'void' || isHandled || isAsync(callee) || isWriteOfTypeOrm(owner, names[1])) {
      yield { text: `this.${names.join('.')}()`, args: chain.args };
    }
  }
  for (const chain of chainsIn(source, 'execution')) {
    const [manager, method = ''] = chain.names;
    if (manager !== 'manager' || !WRITES_OF_TYPEORM.test(method) || waitsFor(source, chain) === 'waited for') continue;
    yield { text: `execution.manager.${method}()`, args: chain.args };
  }
  for (const { 0: call, index } of source.matchAll(LATER)) {
    const args = argumentsAt(source, index + call.length - 1);
    if (/[;{})]$/.test(source.slice(0, index).trimEnd()) && hasCall(args)) {
      yield { text: `${call.slice(0, -1).replace(/\s|^\(0,\s*[\w$]+\.|\)$/g, '')}()`, args };
    }
  }
  if (UNAWAITED_LOOP.test(source)) yield { text: 'forEach() with an async function', args: '' };
  for (const { 0: call, 1: name, index } of source.matchAll(RACE)) {
    if (hasCall(argumentsAt(source, index + call.length - 1))) yield { text: `Promise.${name}()`, args: '' };
  }
}

/** Whether a call is a statement by itself. */
function waitsFor(source: string, { start, end, endsInCall }: Chain): 'waited for' | 'void' | 'not' {
  const before = source.slice(0, start).trimEnd();
  if (!endsInCall) return 'waited for';
  if (/\bvoid$/.test(before)) return 'void';
  return /([;{})]|\belse)$/.test(before) && /^\s*[;}]/.test(source.slice(end)) ? 'not' : 'waited for';
}

function isWriteOfTypeOrm(owner: unknown, method: string | undefined): boolean {
  return isOfTypeOrm(owner) && method !== undefined && WRITES_OF_TYPEORM.test(method);
}

function hasCall(source: string): boolean {
  return [...chainsIn(source), ...chainsIn(source, 'execution')].some(({ endsInCall }) => endsInCall);
}
