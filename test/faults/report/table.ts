import type { RunResult } from '../lab/run.js';

type Counts = Readonly<Record<string, number>>;

/** What one run came to, or several. */
export interface Tally {
  readonly runs: number;
  readonly operations: Counts;
  readonly faults: Counts;
  readonly violations: Counts;
  /** Requests, answers, executions and the like. */
  readonly events: Counts;
  readonly tookMs: number;
}

export const NOTHING: Tally = { runs: 0, operations: {}, faults: {}, violations: {}, events: {}, tookMs: 0 };

export function tally({ history, violations, tookMs }: RunResult): Tally {
  return {
    runs: 1,
    operations: countBy(history.flatMap((entry) => (entry.kind === 'operation' ? [entry.workload] : []))),
    faults: countBy(history.flatMap((entry) => (entry.kind === 'fault' ? [entry.fault] : []))),
    violations: countBy(violations.map(({ guarantee }) => guarantee)),
    events: countBy(
      history.flatMap((entry) => {
        if (entry.kind === 'claimed') return entry.takenFrom === 'processing' ? ['takeovers'] : [];
        if (entry.kind === 'answer') return entry.replayed ? ['answers', 'replays'] : ['answers'];
        const named = { ask: 'requests', lost: 'lost', began: 'executions', completed: 'completed' };
        return named[entry.kind as keyof typeof named] ?? [];
      }),
    ),
    tookMs,
  };
}

export function sum(one: Tally, other: Tally): Tally {
  return {
    runs: one.runs + other.runs,
    operations: add(one.operations, other.operations),
    faults: add(one.faults, other.faults),
    violations: add(one.violations, other.violations),
    events: add(one.events, other.events),
    tookMs: one.tookMs + other.tookMs,
  };
}

/** For people. */
export function tableOf({ runs, operations, faults, violations, events, tookMs }: Tally): string {
  const { requests = 0, answers = 0, replays = 0, lost = 0, executions = 0, takeovers = 0, completed = 0 } = events;
  return [
    ...(runs > 1 ? [`runs        ${runs}`] : []),
    `operations  ${total(operations)}: ${print(operations)}`,
    `requests    ${requests}, answers ${answers}, replays ${replays}, lost ${lost}`,
    `executions  ${executions}, takeovers ${takeovers}, completed ${completed}`,
    `faults      ${total(faults)}: ${print(faults)}`,
    `violations  ${total(violations)}${total(violations) ? `: ${print(violations)}` : ''}`,
    `took        ${(tookMs / 1_000).toFixed(1)} s`,
  ].join('\n');
}

export function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function add(one: Counts, other: Counts): Counts {
  const sums: Record<string, number> = { ...one };
  for (const [name, count] of Object.entries(other)) sums[name] = (sums[name] ?? 0) + count;
  return sums;
}

function total(counts: Counts): number {
  return Object.values(counts).reduce((all, count) => all + count, 0);
}

function print(counts: Counts): string {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');
}
