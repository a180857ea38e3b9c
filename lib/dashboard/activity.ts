import type { IdempotencyEvent } from '../engine/events.js';
import type { Activity, ActivityBucket, ChangeType, Counts, TimelineEntry } from './contract.js';

const BUCKET_SECONDS = 10;
const BUCKET_MS = BUCKET_SECONDS * 1_000;
/** An hour. */
const MOST_BUCKETS = 360;

/** Records whose last events are remembered, and how many of each. */
const MOST_RECORDS = 2_000;
const MOST_ENTRIES = 50;

/** Names of operations that are remembered. */
const MOST_OPERATIONS = 200;

const NONE: Counts = {
  claims: 0,
  replays: 0,
  conflicts: 0,
  takeOvers: 0,
  failures: 0,
  completions: 0,
  held: 0,
  mismatches: 0,
};

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What an event counts as. */
function countedAs(event: IdempotencyEvent): readonly (keyof Counts)[] {
  switch (event.type) {
    case 'claimed':
      return event.takenOver ? ['claims', 'takeOvers'] : ['claims'];
    case 'replayed':
      return ['replays'];
    case 'conflict':
      return ['conflicts'];
    case 'mismatch':
      return ['mismatches'];
    case 'completed':
      return ['completions'];
    case 'held':
      // A duplicate that was refused has no token.
      return event.token === undefined ? [] : ['held', 'failures'];
    case 'released':
    case 'leaseLost':
    case 'unrecorded':
    case 'storeUnavailable':
    case 'lockUnavailable':
      return ['failures'];
    default:
      return [];
  }
}

/** An event as an entry of its record's timeline. */
function entryOf(event: IdempotencyEvent): TimelineEntry | undefined {
  const source = 'memory';
  const at = new Date().toISOString();
  switch (event.type) {
    case 'claimed':
      return { kind: 'attempt', at, source, attempt: event.attempt, takenOver: event.takenOver };
    case 'replayed':
    case 'conflict':
    case 'mismatch':
      return { kind: event.type, at, source, count: 1 };
    case 'replayUnavailable':
      return { kind: 'refused', at, source, count: 1 };
    case 'held':
      if (event.token === undefined) return { kind: 'refused', at, source, count: 1 };
      return { kind: 'held', at, source, responseCode: null };
    case 'released':
      return { kind: 'released', at, source, responseCode: null };
    case 'leaseLost':
    case 'unrecorded':
    case 'notKept':
      return { kind: event.type, at, source };
    default:
      return undefined;
  }
}

export interface Change {
  readonly id: string;
  readonly operation: string;
  readonly type: ChangeType;
}

/** Counts and remembers what happens in this process, within bounds: for a plot, not for accounts. */
export class ActivityMemory {
  private readonly since = new Date();
  private readonly totals: Mutable<Counts> = { ...NONE };
  private readonly buckets: Mutable<ActivityBucket>[] = [];
  private readonly entries = new Map<string, TimelineEntry[]>();
  private readonly seen = new Set<string>();
  /** Called with each change; at most one is interested. */
  onChange: ((change: Change) => void) | undefined;

  record(event: IdempotencyEvent): void {
    const { recordId: id, endpoint: operation, type } = event;
    if (this.seen.size < MOST_OPERATIONS) this.seen.add(operation);
    const counted = countedAs(event);
    if (counted.length > 0) {
      const bucket = this.current();
      for (const name of counted) {
        this.totals[name]++;
        bucket[name]++;
      }
    }
    this.remember(id, entryOf(event));
    this.onChange?.({ id, operation, type });
  }

  get operations(): string[] {
    return [...this.seen].sort();
  }

  /** What is remembered of a record, oldest first. */
  of(recordId: string): readonly TimelineEntry[] {
    return this.entries.get(recordId) ?? [];
  }

  activity(): Activity {
    this.current();
    return {
      since: this.since.toISOString(),
      inMemory: true,
      bucketSeconds: BUCKET_SECONDS,
      totals: { ...this.totals },
      buckets: this.buckets.map((bucket) => ({ ...bucket })),
    };
  }

  counts(): Counts {
    return { ...this.totals };
  }

  /** Buckets that were counting at that time, or later. */
  bucketsSince(ms: number): ActivityBucket[] {
    return this.buckets.filter(({ at }) => Date.parse(at) + BUCKET_MS > ms).map((bucket) => ({ ...bucket }));
  }

  private current(): Mutable<ActivityBucket> {
    const begin = Math.floor(Date.now() / BUCKET_MS) * BUCKET_MS;
    const last = this.buckets.at(-1);
    const lastBegin = last ? Date.parse(last.at) : begin - BUCKET_MS;
    // A clock that was set back goes on in the last bucket.
    if (last && lastBegin >= begin) return last;
    const from = Math.max(lastBegin + BUCKET_MS, begin - (MOST_BUCKETS - 1) * BUCKET_MS);
    for (let at = from; at <= begin; at += BUCKET_MS) this.buckets.push({ at: new Date(at).toISOString(), ...NONE });
    this.buckets.splice(0, this.buckets.length - MOST_BUCKETS);
    return this.buckets.at(-1)!;
  }

  private remember(id: string, entry: TimelineEntry | undefined): void {
    if (!entry) return;
    const entries = this.entries.get(id) ?? [];
    // The record that something happened to last is forgotten last.
    this.entries.delete(id);
    this.entries.set(id, entries);
    if (this.entries.size > MOST_RECORDS) this.entries.delete(this.entries.keys().next().value!);
    const last = entries.at(-1);
    if (last && 'count' in last && 'count' in entry && last.kind === entry.kind) {
      entries[entries.length - 1] = { ...entry, count: last.count + 1 };
      return;
    }
    entries.push(entry);
    if (entries.length > MOST_ENTRIES) entries.shift();
  }
}
