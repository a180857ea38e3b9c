import { setTimeout as sleep } from 'node:timers/promises';

export interface SweeperSettings {
  readonly everyMs: number;
  readonly batch: number;
}

/** Between two batches, so that requests do not notice: in milliseconds. */
const PAUSE = 20;

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
      await this.purge(batch).catch(this.onError);
      if (!this.stopped) next();
    };
    next();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** Deletes everything that has expired. How many records that were. */
  async purge(batch: number, onProgress?: (purged: number) => void): Promise<number> {
    let purged = 0;
    for (;;) {
      const count = await this.sweepBatch(batch);
      purged += count;
      onProgress?.(purged);
      if (count < batch || this.stopped) return purged;
      await sleep(PAUSE);
    }
  }
}
