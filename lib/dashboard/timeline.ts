import { neverExpires } from '../service/record-view.js';
import type { IdempotencyStep } from '../store/entities/index.js';
import type { ContentView } from './content.js';
import type { TimelineEntry } from './contract.js';
import { compare, type JudgedRecord } from './record-pages.js';

/** Returns the timeline from the record and its steps, with the events that this process remembers. */
export function timelineOf(
  { record, abandoned, expired }: JudgedRecord,
  steps: readonly IdempotencyStep[],
  view: ContentView,
  remembered: readonly TimelineEntry[],
): TimelineEntry[] {
  const source = 'record';
  const { status, attempt, responseCode } = record;
  const end = record.completedAt ?? record.leaseUntil;
  const timed: TimelineEntry[] = [
    { kind: 'created', at: record.createdAt.toISOString(), source },
    ...steps.map((step): TimelineEntry => ({
      kind: 'step',
      at: step.updatedAt.toISOString(),
      source,
      name: step.name,
      status: step.status,
      token: step.token,
      result: view.step(step),
    })),
    // A failed record shows its release itself.
    ...remembered.filter(({ kind }) => kind !== 'released' || status !== 'failed'),
  ];
  timed.sort((a, b) => compare(a.at!, b.at!));
  const isSeen = timed.some((entry) => entry.kind === 'attempt' && entry.attempt === attempt);
  if (attempt > 1 && !isSeen) {
    const takenOver = record.takenFrom === 'processing' || record.takenFrom === 'held';
    // The record has no time for it: it came before its own steps.
    const after = timed.findIndex((entry) => entry.kind === 'step' && entry.token === record.token);
    timed.splice(after === -1 ? timed.length : after, 0, { kind: 'attempt', at: null, source, attempt, takenOver });
  }
  const last: TimelineEntry[] = [];
  if (status === 'done') {
    last.push({ kind: 'completed', at: end.toISOString(), source, responseCode });
  } else if (status === 'failed') {
    last.push({ kind: 'released', at: record.leaseUntil.toISOString(), source, responseCode });
  } else {
    const past = status === 'held' || abandoned;
    last.push({ kind: 'lease', at: record.leaseUntil.toISOString(), source, past });
    if (status === 'held' && !timed.some(({ kind }) => kind === 'held')) {
      last.push({ kind: 'held', at: record.leaseUntil.toISOString(), source, responseCode });
    }
  }
  if (!neverExpires(record)) {
    last.push({ kind: 'expires', at: record.expiresAt.toISOString(), source, past: expired });
  }
  return placed(timed, last);
}

/** What has happened by the time of an outcome. */
const BEFORE_OUTCOME: readonly TimelineEntry['kind'][] = ['created', 'attempt', 'step'];

/**
 * Inserts entries by their time. Replays come after the outcome that they replay, even at the same millisecond. Attempts come before their
 * outcome, even if this process, which remembers them, is ahead of the database by a millisecond.
 */
function placed(timed: readonly TimelineEntry[], last: readonly TimelineEntry[]): TimelineEntry[] {
  const timeline = [...timed];
  for (const entry of last) {
    const isOutcome = entry.kind === 'completed' || entry.kind === 'released';
    const isEarlier = ({ kind, at }: TimelineEntry) =>
      at === null || at <= entry.at! || (isOutcome && BEFORE_OUTCOME.includes(kind));
    const after = timeline.findIndex((other) => !isEarlier(other));
    timeline.splice(after === -1 ? timeline.length : after, 0, entry);
  }
  return timeline;
}
