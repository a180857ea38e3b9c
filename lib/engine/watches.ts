import type { WakeUp, WakeUpSubscription } from './ports/wake-up.js';
import type { RecordStore } from './ports/record-store.js';

/** Pauses between looks at a record that nobody announces, in milliseconds. */
const POLL_FIRST = 20;
const POLL_LONGEST = 500;
/** The same where a channel announces it: only for announcements that were lost. */
const BACKSTOP_FIRST = 500;
const BACKSTOP_LONGEST = 5_000;

/** Watches records that other processes run, once for all who wait for them in this process. */
export class Watches {
  private readonly watches = new Map<string, Watch>();

  constructor(
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
  ) {}

  /** The number of changes seen so far; to be read before looking at the record, and handed to {@link Watch.changed}. */
  changesOf(recordId: string): number {
    return this.watches.get(recordId)?.changes ?? 0;
  }

  /** Takes part in watching a record; {@link Watch.leave} ends it. */
  join(recordId: string): Watch {
    let watch = this.watches.get(recordId);
    if (!watch) {
      watch = new Watch(recordId, this.store, this.wakeUp, () => this.watches.delete(recordId));
      this.watches.set(recordId, watch);
    }
    watch.enter();
    return watch;
  }
}

export class Watch {
  changes = 0;
  private waiters = 0;
  private readonly waking = new Set<() => void>();
  private subscription: WakeUpSubscription | undefined;
  private poll: NodeJS.Timeout | undefined;
  private pause: number;
  private longest: number;

  constructor(
    private readonly recordId: string,
    private readonly store: RecordStore,
    private readonly wakeUp: WakeUp | undefined,
    private readonly onEmpty: () => void,
  ) {
    this.pause = wakeUp ? BACKSTOP_FIRST : POLL_FIRST;
    this.longest = wakeUp ? BACKSTOP_LONGEST : POLL_LONGEST;
    void this.start();
  }

  enter(): void {
    this.waiters++;
  }

  leave(): void {
    if (--this.waiters > 0) return;
    clearTimeout(this.poll);
    this.subscription?.close();
    this.onEmpty();
  }

  /**
   * Resolves when it is worth looking at the record again: it changed since `seen`, its lease runs out, a look is due,
   * or `ms` milliseconds have passed.
   */
  changed(seen: number, ms: number, leaseLeftMs: number): Promise<void> {
    if (this.changes > seen) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.waking.delete(wake);
        resolve();
      };
      // A few milliseconds past the lease's end, and not all processes at once.
      const lapse = Math.max(leaseLeftMs, 0) + 5 + Math.random() * 20;
      const timer = setTimeout(wake, Math.min(ms, lapse));
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
    if (this.subscription) {
      const standing = await this.store.markAwaited(this.recordId).catch(() => undefined);
      if (standing?.status !== 'processing') this.wakeAll();
    }
    this.schedulePoll();
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
