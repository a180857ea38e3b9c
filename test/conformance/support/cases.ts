import { randomUUID } from 'node:crypto';
import type { RunningApp } from './app.js';
import { nameOf, type RawAnswer, type RawRequest, send, valueOf } from './raw-http.js';

/** How often handlers ran. Each calls {@link ran} once. */
let runs = 0;
export function ran(): void {
  runs++;
}

export function countRuns(): number {
  return runs;
}

/** Lines that may differ between the first answer and its replay. */
const OF_ONE_MESSAGE = new Set(['date', 'connection', 'keep-alive', 'idempotent-replayed', 'set-cookie']);

export function comparable({ statusLine, head, body }: RawAnswer, without: readonly string[] = []) {
  const lines = head.filter((line) => !OF_ONE_MESSAGE.has(nameOf(line)) && !without.includes(nameOf(line)));
  return { statusLine, head: lines, body: body.toString('latin1') };
}

export function isReplay({ head }: RawAnswer): boolean {
  return valueOf(head, 'idempotent-replayed') === 'true';
}

export function codeOf({ body }: RawAnswer): unknown {
  try {
    return (JSON.parse(body.toString()) as { code?: unknown }).code;
  } catch {
    return undefined;
  }
}

export interface ReplayCase extends Partial<RawRequest> {
  readonly name: string;
  readonly path: string;
  /** What the first answer has to be: status, and the body or what it matches. */
  readonly status: number;
  readonly text?: string | RegExp;
  /** Headers that the answer has to have. */
  readonly has?: Readonly<Record<string, string>>;
  /** Headers that differ between two answers by design. */
  readonly without?: readonly string[];
  /** Whether the second is a replay, gets the problem that there is none, or the operation runs again. Default: a replay. */
  readonly again?: 'replayed' | 'carried out' | 'rerun';
  /** Where Fastify itself, or Nest's adapter for it, does otherwise than Express. */
  readonly onFastify?: Partial<ReplayCase>;
}

/** Sends a request twice: the second answer is the first one again, and the handler ran once. */
export async function checkReplay(
  { port, platform }: RunningApp,
  { onFastify, ...rest }: ReplayCase,
): Promise<[RawAnswer, RawAnswer]> {
  const one: ReplayCase = platform === 'fastify' ? { ...rest, ...onFastify } : rest;
  const request = { key: randomUUID(), ...one };
  const before = countRuns();
  const first = await send(port, request);
  const second = await send(port, request);

  expect({ status: first.status, replayed: isReplay(first) }).toEqual({ status: one.status, replayed: false });
  if (one.text instanceof RegExp) expect(first.body.toString('latin1')).toMatch(one.text);
  else if (one.text !== undefined) expect(first.body.toString('latin1')).toBe(one.text);
  for (const [name, value] of Object.entries(one.has ?? {})) expect(valueOf(first.head, name)).toBe(value);
  if (one.again === 'carried out') {
    expect([codeOf(second), countRuns() - before]).toEqual(['replay-unavailable', 1]);
    return [first, second];
  }
  expect(comparable(second, one.without)).toEqual(comparable(first, one.without));
  const replayed = one.again !== 'rerun';
  expect({ replayed: isReplay(second), runs: countRuns() - before }).toEqual({ replayed, runs: replayed ? 1 : 2 });
  return [first, second];
}
