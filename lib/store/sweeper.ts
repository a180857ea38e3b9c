import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { outsideRequests } from '../engine/outside-requests.js';

export interface SweeperSettings {
  /** The average time between two sweeps, in milliseconds. */
  readonly everyMs: number;
  /** The number of records that one statement deletes. */
  readonly batch: number;
}

/** The shortest pause between two batches. */
const MIN_PAUSE_MS = 20;

/** A sweep pauses for nine times as long as its last batch took: nine tenths of the database's time are left for requests. */
const PAUSE_FACTOR = 9;

/**
 * Deletes expired records at intervals, in small batches. It runs in any number of processes: each skips rows that another
 * has locked. Only disk space depends on it, because every statement checks expiry itself.
 */
export class Sweeper {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly sweepBatch: (limit: number) => Promise<number>,
    private readonly onError: (error: unknown) => void,
  ) {}

  start({ everyMs, batch }: SweeperSettings): void {
    // Random intervals: processes that started together would otherwise sweep together.
    const next = () => {
      this.timer = setTimeout(() => void sweep(), everyMs * (0.9 + Math.random() * 0.2));
      this.timer.unref();
    };
    const sweep = async () => {
      await this.delete(batch, PAUSE_FACTOR).catch(this.onError);
      if (!this.stopped) next();
    };
    outsideRequests(next);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** Deletes all that has expired, with short pauses only, because a caller waits. Returns the number of records. */
  purge(batch: number, onProgress?: (purged: number) => void): Promise<number> {
    return this.delete(batch, 0, onProgress);
  }

  private async delete(batch: number, pauseFactor: number, onProgress?: (purged: number) => void): Promise<number> {
    let purged = 0;
    for (;;) {
      const startedAt = performance.now();
      const count = await this.sweepBatch(batch);
      const tookMs = performance.now() - startedAt;
      purged += count;
      onProgress?.(purged);
      if (count < batch || this.stopped) return purged;
      // Unreferenced: on a slow database a pause is long, and must not keep the process alive.
      await sleep(Math.max(MIN_PAUSE_MS, pauseFactor * tookMs), undefined, { ref: pauseFactor === 0 });
      if (this.stopped) return purged;
    }
  }
}
