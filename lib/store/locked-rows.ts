import { setTimeout as sleep } from 'node:timers/promises';
import { says } from './driver-errors.js';

/** How long locked rows are left alone before one is asked for again, in milliseconds. */
const PAUSE_MS = 50;

/** Returns whether a statement waited in vain for a row that another transaction has locked. Nothing of it was done. */
export function saysLocked(error: unknown): boolean {
  return says(error, 'locked');
}

/**
 * Asks for rows that were found locked, one at a time: however many rows are locked, the statements that wait for them hold
 * one connection at the most.
 */
export class LockedRows {
  private lastTurn: Promise<unknown> = Promise.resolve();

  /** Runs `ask` when its turn comes, again while its row is locked, for up to `patienceMs` milliseconds. */
  async waitFor<T>(ask: () => Promise<T>, patienceMs: number): Promise<T> {
    const giveUpAt = performance.now() + patienceMs;
    for (;;) {
      try {
        return await this.inTurn(ask);
      } catch (error) {
        if (!saysLocked(error) || performance.now() >= giveUpAt) throw error;
      }
    }
  }

  private inTurn<T>(ask: () => Promise<T>): Promise<T> {
    const turn = this.lastTurn.then(ask);
    this.lastTurn = turn.catch((error: unknown) => (saysLocked(error) ? sleep(PAUSE_MS) : undefined));
    return turn;
  }
}
