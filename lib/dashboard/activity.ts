import type { IdempotencyEvent } from '../engine/events.js';
import type { Activity, ActivityBucket, ChangeType, Counts, TimelineEntry } from './contract.js';

const BUCKET_SECONDS = 10;
const BUCKET_MS = BUCKET_SECONDS * 1_000;
/** One hour. */
const MAX_BUCKETS = 360;

/** How many records are remembered, and how many events of each: the memory of a busy process must not grow with its traffic. */
const MAX_RECORDS = 2_000;
const MAX_ENTRIES = 50;

/** How many names of operations are remembered. */
const MAX_OPERATIONS = 200;

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

/** Returns the counts that an event adds to. */
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
      // Without a token, it is a refused duplicate.
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

/** Returns the entry of an event in its record's timeline. */
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

/** Without a bucket: earlier than all. */
function beginOf(bucket: ActivityBucket | undefined): number {
  return bucket ? Date.parse(bucket.at) : -Infinity;
}

export interface Change {
  readonly id: string;
  readonly operation: string;
  readonly type: ChangeType;
}

/** Counts and remembers what happens in this process, within bounds: for a plot, not for accounting. */
export class ActivityMemory {
  private readonly since = new Date();
  private readonly totals: Mutable<Counts> = { ...NONE };
  private readonly buckets: Mutable<ActivityBucket>[] = [];
  private readonly entries = new Map<string, TimelineEntry[]>();
  private readonly seen = new Set<string>();
  /** Called with each change. There is at most one listener. */
  onChange: ((change: Change) => void) | undefined;

  record(event: IdempotencyEvent): void {
    const { recordId: id, endpoint: operation, type } = event;
    if (this.seen.size < MAX_OPERATIONS) this.seen.add(operation);
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

  /** Returns the remembered entries of a record, oldest first. */
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

  /** Returns the buckets that were counting at that time, or later. */
  bucketsSince(ms: number): ActivityBucket[] {
    return this.buckets.filter(({ at }) => Date.parse(at) + BUCKET_MS > ms).map((bucket) => ({ ...bucket }));
  }

  private current(): Mutable<ActivityBucket> {
    const begin = Math.floor(Date.now() / BUCKET_MS) * BUCKET_MS;
    // After the clock was set back: the page would draw all that happens until that time as its last minute.
    while (beginOf(this.buckets.at(-1)) > begin + BUCKET_MS) this.buckets.pop();
    const last = this.buckets.at(-1);
    // Where the clock is slewed, the last bucket continues.
    if (last && beginOf(last) >= begin) return last;
    const lastBegin = last ? beginOf(last) : begin - BUCKET_MS;
    const from = Math.max(lastBegin + BUCKET_MS, begin - (MAX_BUCKETS - 1) * BUCKET_MS);
    for (let at = from; at <= begin; at += BUCKET_MS) this.buckets.push({ at: new Date(at).toISOString(), ...NONE });
    this.buckets.splice(0, this.buckets.length - MAX_BUCKETS);
    return this.buckets.at(-1)!;
  }

  private remember(id: string, entry: TimelineEntry | undefined): void {
    if (!entry) return;
    const entries = this.entries.get(id) ?? [];
    // Re-inserted, so that the record with the oldest event is forgotten first.
    this.entries.delete(id);
    this.entries.set(id, entries);
    if (this.entries.size > MAX_RECORDS) this.entries.delete(this.entries.keys().next().value!);
    const last = entries.at(-1);
    if (last && 'count' in last && 'count' in entry && last.kind === entry.kind) {
      entries[entries.length - 1] = { ...entry, count: last.count + 1 };
      return;
    }
    entries.push(entry);
    if (entries.length > MAX_ENTRIES) entries.shift();
  }
}
