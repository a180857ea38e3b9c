import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

export interface SweeperSettings {
  readonly everyMs: number;
  readonly batch: number;
}

/** Between two batches, at the least: in milliseconds. */
const PAUSE = 20;

/** A sweep rests so many times as long as its last batch took: requests have nine tenths of the database for themselves. */
const REST = 9;

/**
 * Deletes expired records from time to time, in small batches. Runs on any number of replicas: each takes rows that the
 * others do not hold. Nothing depends on it but disk space, as every statement checks expiry for itself.
 */
export class Sweeper {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly sweepBatch: (limit: number) => Promise<number>,
    private readonly onError: (error: unknown) => void,
  ) {}

  start({ everyMs, batch }: SweeperSettings): void {
    // Replicas that were started together would sweep together.
    const next = () => {
      this.timer = setTimeout(() => void sweep(), everyMs * (0.9 + Math.random() * 0.2));
      this.timer.unref();
    };
    const sweep = async () => {
      await this.delete(batch, REST).catch(this.onError);
      if (!this.stopped) next();
    };
    next();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** Deletes everything that has expired, with short pauses only, because a caller waits. Returns the number of records. */
  purge(batch: number, onProgress?: (purged: number) => void): Promise<number> {
    return this.delete(batch, 0, onProgress);
  }

  private async delete(batch: number, rest: number, onProgress?: (purged: number) => void): Promise<number> {
    let purged = 0;
    for (;;) {
      const startedAt = performance.now();
      const count = await this.sweepBatch(batch);
      const took = performance.now() - startedAt;
      purged += count;
      onProgress?.(purged);
      if (count < batch || this.stopped) return purged;
      // A rest may be long where the database is slow: no process waits for it to end.
      await sleep(Math.max(PAUSE, rest * took), undefined, { ref: rest === 0 });
      if (this.stopped) return purged;
    }
  }
}
