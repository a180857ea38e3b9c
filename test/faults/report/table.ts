import type { RunResult } from '../lab/run.js';

/** What a run came to, for people. */
export function tableOf({ history, violations, tookMs }: RunResult): string {
  const count = (kind: string) => history.filter((entry) => entry.kind === kind).length;
  const operations = countBy(history.flatMap((entry) => (entry.kind === 'operation' ? [entry.workload] : [])));
  const faults = countBy(history.flatMap((entry) => (entry.kind === 'fault' ? [entry.fault] : [])));
  const takeovers = history.filter((entry) => entry.kind === 'claimed' && entry.takenFrom === 'processing').length;
  const replays = history.filter((entry) => entry.kind === 'answer' && entry.replayed).length;
  return [
    `operations  ${count('operation')}: ${print(operations)}`,
    `requests    ${count('ask')}, answers ${count('answer')}, replays ${replays}, lost ${count('lost')}`,
    `executions  ${count('began')}, takeovers ${takeovers}, completed ${count('completed')}`,
    `faults      ${count('fault')}: ${print(faults)}`,
    `violations  ${violations.length}${violations.length ? `: ${print(countBy(violations.map((v) => v.guarantee)))}` : ''}`,
    `took        ${(tookMs / 1_000).toFixed(1)} s`,
  ].join('\n');
}

export function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function print(counts: Record<string, number>): string {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');
}
