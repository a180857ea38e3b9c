import { HARDSHIPS } from '../history/entry.js';
import type { RunResult } from '../lab/lab.js';

type Counts = Readonly<Record<string, number>>;

/** What one run came to, or several. */
export interface Tally {
  readonly runs: number;
  readonly operations: Counts;
  readonly faults: Counts;
  readonly hardships: Counts;
  readonly violations: Counts;
  /** Requests, answers, executions and the like. */
  readonly events: Counts;
  /** Seconds of a processor. */
  readonly processor: Counts;
  readonly tookMs: number;
}

export const NOTHING: Tally = {
  runs: 0,
  operations: {},
  faults: {},
  hardships: {},
  violations: {},
  events: {},
  processor: {},
  tookMs: 0,
};

const EVENTS = { ask: 'requests', lost: 'lost', began: 'executions', completed: 'completed' } as const;

export function tally({ history, violations, tookMs, processor }: RunResult): Tally {
  const operations: Record<string, number> = {};
  const faults: Record<string, number> = {};
  const hardships: Record<string, number> = {};
  const events: Record<string, number> = {};
  for (const entry of history) {
    if (entry.kind === 'operation') count(operations, entry.workload);
    // A crash that was ordered counts once it comes about.
    else if (entry.kind === 'fault' && entry.fault !== 'crash at a point') count(faults, entry.fault);
    else if (entry.kind === 'met') count(hardships, entry.what);
    else if (entry.kind === 'claimed' && entry.takenFrom === 'processing') count(events, 'takeovers');
    else if (entry.kind === 'answer') {
      count(events, 'answers');
      if (entry.replayed) count(events, 'replays');
    } else if (entry.kind in EVENTS) count(events, EVENTS[entry.kind as keyof typeof EVENTS]);
  }
  const counted = countBy(violations.map(({ guarantee }) => guarantee));
  return { runs: 1, operations, faults, hardships, violations: counted, events, processor, tookMs };
}

export function sum(one: Tally, other: Tally): Tally {
  return {
    runs: one.runs + other.runs,
    operations: add(one.operations, other.operations),
    faults: add(one.faults, other.faults),
    hardships: add(one.hardships, other.hardships),
    violations: add(one.violations, other.violations),
    events: add(one.events, other.events),
    processor: add(one.processor, other.processor),
    tookMs: one.tookMs + other.tookMs,
  };
}

/** For people. */
export function tableOf({ runs, operations, faults, hardships, violations, events, processor, tookMs }: Tally): string {
  const { requests = 0, answers = 0, replays = 0, lost = 0, executions = 0, takeovers = 0, completed = 0 } = events;
  const seconds = tookMs / 1_000;
  const perMinute = (n: number) => Math.round((n / seconds) * 60);
  const perOperation = Object.fromEntries(
    Object.entries(processor).map(([kind, used]) => [kind, Number(((used * 1_000) / total(operations)).toFixed(2))]),
  );
  return [
    ...(runs > 1 ? [`runs        ${runs}`] : []),
    `operations  ${total(operations)} (${(total(operations) / seconds).toFixed(0)} a second): ${print(operations)}`,
    `requests    ${requests}, answers ${answers}, replays ${replays}, lost ${lost}`,
    `executions  ${executions}, takeovers ${takeovers}, completed ${completed}`,
    `met         ${total(hardships)}: ${print(hardships)}`,
    `faults      ${total(faults)} (${perMinute(total(faults))} a minute): ${print(faults)}`,
    `violations  ${total(violations)}${total(violations) ? `: ${print(violations)}` : ''}`,
    `processor   ms an operation: ${print(perOperation)}`,
    `took        ${seconds.toFixed(1)} s`,
  ].join('\n');
}

/** Faults that a row of the page's table takes together. */
const FAULT_ROWS: readonly (readonly [title: string, faults: readonly string[]])[] = [
  [
    'processes: killed at a point of the protocol, killed at random, paused past their lease',
    ['crash', 'kill -9', 'pause'],
  ],
  ['processes: slowed down at a point, clocks shifted', ['slow at a point', 'clock shifted']],
  ['database: request or answer lost, cut after a statement', ['request or answer lost', 'cut after a statement']],
  [
    'database: black-holed, refused, connections cut, slow',
    ['database black-holed', 'database refused', 'cut connections', 'database slow'],
  ],
  [
    'database: read-only with its connections alive, stopped and started again, a session killed',
    ['database read-only', 'database stopped', 'backend killed'],
  ],
  ['database: disk full, pool exhausted', ['disk full', 'pool exhausted']],
  [
    'Redis: flushed, isolated, paused, killed, quorum lost',
    ['redis flushed', 'redis isolated', 'redis paused', 'redis killed', 'quorum lost'],
  ],
];

/** For docs/guarantees.md: what rich and lean runs came to, each in a column. */
export function markdownOf(rich: Tally, lean: Tally): string {
  const all = sum(rich, lean);
  const columns = [rich, lean, all];
  const row = (title: string, cell: (tally: Tally) => string) => `| ${[title, ...columns.map(cell)].join(' | ')} |`;
  const event = (name: string) => (one: Tally) => format(one.events[name] ?? 0);
  const inMinutes = ({ tookMs }: Tally) => tookMs / 60_000;
  return [
    '| | rich | lean | in all |',
    '|---|---|---|---|',
    row('runs, minutes', (one) => `${one.runs}, ${inMinutes(one).toFixed(0)}`),
    row('operations', ({ operations }) => format(total(operations))),
    row('requests', event('requests')),
    row('of which got no answer', event('lost')),
    row('of which were replays', event('replays')),
    row('calls of handlers', event('executions')),
    row('take-overs from owners that fell silent', event('takeovers')),
    ...HARDSHIPS.map((what) => row(what, ({ hardships }) => format(hardships[what] ?? 0))),
    row('faults', ({ faults }) => format(total(faults))),
    row('faults a minute', (one) => (one.runs ? Math.round(total(one.faults) / inMinutes(one)).toString() : '')),
    ...FAULT_ROWS.map(([title, names]) =>
      row(title, ({ faults }) => names.map((name) => format(faults[name] ?? 0)).join(', ')),
    ),
    row('violations', ({ violations }) => format(total(violations))),
  ].join('\n');
}

export function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) count(counts, name);
  return counts;
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

function add(one: Counts, other: Counts): Counts {
  const sums: Record<string, number> = { ...one };
  for (const [name, n] of Object.entries(other)) sums[name] = (sums[name] ?? 0) + n;
  return sums;
}

function total(counts: Counts): number {
  return Object.values(counts).reduce((all, n) => all + n, 0);
}

function format(n: number): string {
  return n.toLocaleString('en');
}

function print(counts: Counts): string {
  return Object.entries(counts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');
}
