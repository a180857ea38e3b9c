import { setTimeout as sleep } from 'node:timers/promises';
import { says } from './driver-errors.js';

/** The pause between two attempts at locked rows: without one, a statement would hold a connection all the time. */
const PAUSE_MS = 50;

/**
 * Retries statements whose rows are locked, one at a time: for any number of locked rows, they hold one connection at most.
 */
export class LockedRows {
  private lastTurn: Promise<unknown> = Promise.resolve();

  /** Runs `ask` when its turn comes, and again while its row is locked, for up to `patienceMs` milliseconds. */
  async waitFor<T>(ask: () => Promise<T>, patienceMs: number): Promise<T> {
    const giveUpAt = performance.now() + patienceMs;
    for (;;) {
      try {
        return await this.inTurn(ask);
      } catch (error) {
        if (!says(error, 'locked') || performance.now() >= giveUpAt) throw error;
      }
    }
  }

  private inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const turn = this.lastTurn.then(ask);
    this.lastTurn = turn.catch((error: unknown) => (says(error, 'locked') ? sleep(PAUSE_MS) : undefined));
    return turn;
  }
}
