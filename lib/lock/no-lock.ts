import type { HeldLock, LockAttempt, RecordLock } from '../engine/ports/record-lock.js';

const NOTHING_HELD: HeldLock = { release: () => undefined };

/** For applications without Redis: every attempt succeeds and the database alone decides who runs. */
export class NoLock implements RecordLock {
  acquire(): Promise<LockAttempt> {
    return Promise.resolve({ kind: 'acquired', lock: NOTHING_HELD });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
