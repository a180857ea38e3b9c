import { performance } from 'node:perf_hooks';
import type { WakeUp, WakeUpSubscription } from './ports/wake-up.js';
import type { RecordStore, RecordState } from './ports/record-store.js';
import { Waiters } from './waiters.js';

/** Pauses between reads of a record whose changes no channel announces. The longest bounds how late a waiter learns of an end. */
const POLL_MIN_MS = 20;
const POLL_MAX_MS = 500;
/** The same where a channel announces changes: these reads only catch announcements that were lost. */
const BACKSTOP_MIN_MS = 500;
const BACKSTOP_MAX_MS = 5_000;

/** Watches records that other processes run: one watcher a record, however many requests of this process wait for it. */
export class RecordWatchers {
  private readonly watchers = new Map<string, RecordWatcher>();

  constructor(
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
  ) {}

  /** Returns the watcher of a record that requests of this process wait for. */
  get(recordId: string): RecordWatcher | undefined {
    return this.watchers.get(recordId);
  }

  /** Adds a waiter to the record's watcher, until {@link RecordWatcher.leave}. `transactional`: whether the record's operation is. */
  join(recordId: string, transactional = false): RecordWatcher {
    const { watchers } = this;
    const watcher =
      watchers.get(recordId) ?? new RecordWatcher(watchers, recordId, transactional, this.store, this.wakeUp);
    watchers.set(recordId, watcher);
    watcher.waiterCount++;
    return watcher;
  }

  /** Has all waiters of this process read their records. */
  wakeAll(): void {
    for (const watcher of this.watchers.values()) watcher.wakeAll();
  }
}

export class RecordWatcher {
  /** How often the record may have changed so far. A waiter notes it before it reads the record, and hands it to {@link changed}. */
  changes = 0;
  /** Raised by {@link RecordWatchers.join}. */
  waiterCount = 0;
  private readonly waiters = new Waiters();
  private subscription: WakeUpSubscription | undefined;
  private pollTimer: NodeJS.Timeout | undefined;
  private leaseTimer: NodeJS.Timeout | undefined;
  private lastRecord: RecordState | undefined;
  /** The count of {@link changes} when `lastRecord` was read. */
  private lastRecordAt = 0;
  private leaseEnds = 0;
  private isMarking = false;
  /** The owner whose record is marked as awaited. */
  private markedOwner: string | undefined;
  private pauseMs: number;
  private longestPauseMs: number;

  constructor(
    private readonly watchers: Map<string, RecordWatcher>,
    private readonly recordId: string,
    private readonly transactional: boolean,
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
  ) {
    this.pauseMs = wakeUp ? BACKSTOP_MIN_MS : POLL_MIN_MS;
    this.longestPauseMs = wakeUp ? BACKSTOP_MAX_MS : POLL_MAX_MS;
    void this.start();
  }

  /** The record in processing, as a waiter read it last; `undefined` once it may have changed since. */
  get currentRecord(): RecordState | undefined {
    const isCurrent = this.lastRecordAt === this.changes && performance.now() < this.leaseEnds;
    return isCurrent ? this.lastRecord : undefined;
  }

  leave(): void {
    if (--this.waiterCount > 0) return;
    clearTimeout(this.pollTimer);
    clearTimeout(this.leaseTimer);
    this.subscription?.close();
    this.watchers.delete(this.recordId);
  }

  /**
   * Resolves when the record is worth another read: it changed since `seen`, its lease ran out, a poll is due, or `ms` milliseconds
   * have passed. A change between the waiter's read and this call counts: without `seen`, the waiter would sleep through it.
   *
   * @param recordState the record in processing, as the waiter just read it
   */
  changed(seen: number, ms: number, recordState: RecordState): Promise<void> {
    if (this.changes > seen) return Promise.resolve();
    if (recordState !== this.lastRecord) {
      this.lastRecord = recordState;
      this.leaseEnds = performance.now() + recordState.leaseLeftMs;
      this.scheduleLeaseEnd(recordState.leaseLeftMs);
    }
    this.lastRecordAt = this.changes;
    if (recordState.owner !== this.markedOwner) void this.mark();
    return this.waiters.wait(ms);
  }

  private async start(): Promise<void> {
    try {
      this.subscription = await this.wakeUp?.subscribe(this.recordId, () => this.wakeAll());
      if (this.waiterCount === 0) this.subscription?.close();
    } catch {
      this.pauseMs = POLL_MIN_MS;
      this.longestPauseMs = POLL_MAX_MS;
    }
    await this.mark();
    this.schedulePoll();
  }

  /** Marks the record as awaited, so that its owner announces its end. Each owner has to be asked: a new claim clears the mark. */
  private async mark(): Promise<void> {
    if (!this.subscription || this.isMarking || this.waiterCount === 0) return;
    this.isMarking = true;
    const recordState = await this.store.markAwaited(this.recordId, this.transactional).catch(() => undefined);
    this.isMarking = false;
    if (recordState?.status === 'processing') this.markedOwner = recordState.owner;
    else this.wakeAll();
  }

  /** Wakes some random milliseconds after the lease's end. Otherwise all processes would claim the record at once. */
  private scheduleLeaseEnd(leaseLeftMs: number): void {
    clearTimeout(this.leaseTimer);
    this.leaseTimer = setTimeout(() => this.wakeAll(), Math.max(leaseLeftMs, 0) + 5 + Math.random() * 20);
  }

  private schedulePoll(): void {
    if (this.waiterCount === 0) return;
    const poll = () => {
      this.wakeAll();
      this.pauseMs = Math.min(this.pauseMs * 2, this.longestPauseMs);
      this.schedulePoll();
    };
    this.pollTimer = setTimeout(poll, this.pauseMs * (0.5 + Math.random()));
  }

  wakeAll(): void {
    this.changes++;
    this.waiters.wakeAll();
  }
}
