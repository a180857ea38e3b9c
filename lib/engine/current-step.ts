import { AsyncLocalStorage } from 'node:async_hooks';
import type { StoreTransaction } from './ports/record-store.js';

/** A step that runs inside an operation's transaction, and is recorded by itself. */
export interface CurrentStep {
  readonly name: string;
  readonly transaction: StoreTransaction;
}

const storage = new AsyncLocalStorage<CurrentStep>();

/** Runs the function of a step, so that the store can tell which statements are the step's. */
export function runInStep<T>(step: CurrentStep, fn: () => T): T {
  return storage.run(step, fn);
}

/** Returns the step that the caller runs in; `undefined` outside of a transactional operation's steps. */
export function currentStep(): CurrentStep | undefined {
  return storage.getStore();
}
