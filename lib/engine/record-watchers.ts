import { performance } from 'node:perf_hooks';
import type { WakeUp, WakeUpSubscription } from './ports/wake-up.js';
import type { RecordStore, RecordState } from './ports/record-store.js';

/** Pauses between reads of a record whose changes are not announced, in milliseconds. */
const POLL_FIRST = 20;
const POLL_LONGEST = 500;
/** The same where a channel announces changes: only for lost announcements. */
const BACKSTOP_FIRST = 500;
const BACKSTOP_LONGEST = 5_000;

/** Watches records that other processes run, once for all who wait for them in this process. */
export class RecordWatchers {
  private readonly watchers = new Map<string, RecordWatcher>();

  constructor(
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
  ) {}

  /** The number of changes seen so far; to be read before looking at the record, and handed to {@link RecordWatcher.changed}. */
  changesOf(recordId: string): number {
    return this.watchers.get(recordId)?.changes ?? 0;
  }

  /** Returns whether requests of this process wait for the record. */
  isWatched(recordId: string): boolean {
    return this.watchers.has(recordId);
  }

  /** The record as those who wait for it saw it last, if nothing has changed since. */
  currentRecordOf(recordId: string): RecordState | undefined {
    return this.watchers.get(recordId)?.currentRecord;
  }

  /**
   * Takes part in watching a record; {@link RecordWatcher.leave} ends it.
   *
   * @param transactional whether the record's operation is
   */
  join(recordId: string, transactional = false): RecordWatcher {
    let watcher = this.watchers.get(recordId);
    if (!watcher) {
      watcher = new RecordWatcher(recordId, transactional, this.store, this.wakeUp, () =>
        this.watchers.delete(recordId),
      );
      this.watchers.set(recordId, watcher);
    }
    watcher.enter();
    return watcher;
  }
}

export class RecordWatcher {
  changes = 0;
  private waiters = 0;
  private readonly waking = new Set<() => void>();
  private subscription: WakeUpSubscription | undefined;
  private poll: NodeJS.Timeout | undefined;
  private leaseTimer: NodeJS.Timeout | undefined;
  private seen: RecordState | undefined;
  private seenAt = 0;
  private leaseEnds = 0;
  private started = false;
  private marking = false;
  /** The owner whose record is marked as awaited. */
  private markedFor: string | undefined;
  private pause: number;
  private longest: number;

  constructor(
    private readonly recordId: string,
    private readonly transactional: boolean,
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
    private readonly onEmpty: () => void,
  ) {
    this.pause = wakeUp ? BACKSTOP_FIRST : POLL_FIRST;
    this.longest = wakeUp ? BACKSTOP_LONGEST : POLL_LONGEST;
    void this.start();
  }

  /** The record in processing, as it was seen last; `undefined` once that may have changed. */
  get currentRecord(): RecordState | undefined {
    return this.seen && this.seenAt === this.changes && performance.now() < this.leaseEnds ? this.seen : undefined;
  }

  enter(): void {
    this.waiters++;
  }

  leave(): void {
    if (--this.waiters > 0) return;
    clearTimeout(this.poll);
    clearTimeout(this.leaseTimer);
    this.subscription?.close();
    this.onEmpty();
  }

  /**
   * Resolves when it is worth looking at the record again: it changed since `seen`, its lease runs out, a look is due,
   * or `ms` milliseconds have passed.
   *
   * @param recordState the record as it was just seen, processing
   */
  changed(seen: number, ms: number, recordState: RecordState): Promise<void> {
    if (this.changes > seen) return Promise.resolve();
    if (recordState !== this.seen) {
      this.seen = recordState;
      this.leaseEnds = performance.now() + recordState.leaseLeftMs;
      this.scheduleLeaseEnd(recordState.leaseLeftMs);
    }
    this.seenAt = this.changes;
    if (recordState.owner !== this.markedFor) void this.mark();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.waking.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.waking.add(wake);
    });
  }

  private async start(): Promise<void> {
    try {
      this.subscription = await this.wakeUp?.subscribe(this.recordId, () => this.wakeAll());
      if (this.waiters === 0) this.subscription?.close();
    } catch {
      this.pause = POLL_FIRST;
      this.longest = POLL_LONGEST;
    }
    this.started = true;
    await this.mark();
    this.schedulePoll();
  }

  /**
   * Marks the record as awaited, so that its owner announces its end. A new owner needs a new mark.
   */
  private async mark(): Promise<void> {
    if (!this.subscription || !this.started || this.marking || this.waiters === 0) return;
    this.marking = true;
    const recordState = await this.store.markAwaited(this.recordId, this.transactional).catch(() => undefined);
    this.marking = false;
    if (recordState?.status === 'processing') this.markedFor = recordState.owner;
    else this.wakeAll();
  }

  /** One look for all who wait: a few milliseconds past the lease's end, and not in all processes at once. */
  private scheduleLeaseEnd(leaseLeftMs: number): void {
    clearTimeout(this.leaseTimer);
    this.leaseTimer = setTimeout(() => this.wakeAll(), Math.max(leaseLeftMs, 0) + 5 + Math.random() * 20);
  }

  private schedulePoll(): void {
    if (this.waiters === 0) return;
    this.poll = setTimeout(
      () => {
        this.wakeAll();
        this.pause = Math.min(this.pause * 2, this.longest);
        this.schedulePoll();
      },
      this.pause * (0.5 + Math.random()),
    );
  }

  private wakeAll(): void {
    this.changes++;
    for (const wake of this.waking) wake();
  }
}
