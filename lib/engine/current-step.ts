import { AsyncLocalStorage } from 'node:async_hooks';
import type { StoreTransaction } from './ports/record-store.js';

/** A step that runs inside an operation's transaction, though its record commits at once. */
export interface CurrentStep {
  readonly name: string;
  readonly transaction: StoreTransaction;
}

const storage = new AsyncLocalStorage<CurrentStep>();

/** Runs a step's function. The store refuses its writes through the transaction, which a rollback would undo. */
export function runInStep<T>(step: CurrentStep, fn: () => T): T {
  return storage.run(step, fn);
}

/** Returns the step that the caller runs in, or `undefined` outside of a transactional operation's steps. */
export function currentStep(): CurrentStep | undefined {
  return storage.getStore();
}
