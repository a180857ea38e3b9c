import { current } from '../engine/current-execution.js';
import { NestedOperationError } from '../engine/errors.js';
import type { StoreTransaction } from '../engine/ports/record-store.js';
import type { Connector } from './connectors/connector.js';
import { withDeadline } from './deadline.js';
import { retryingConflicts } from './driver-errors.js';

/** Statements of the dialect, on a connection. */
export type Work<T> = (on: unknown) => Promise<T>;

/** Runs `work` on a connection of the store, again after a conflict, for at most `patienceMs` milliseconds. */
export function ask<T>(
  connector: Connector,
  patienceMs: number,
  work: Work<T>,
  how: 'alone' | 'atomically' = 'alone',
): Promise<T> {
  return withDeadline(
    retryingConflicts(() => connector[how](work, patienceMs)),
    patienceMs,
  );
}

/**
 * Runs `work` while the caller's own transaction may hold a connection of the same pool. Throws NestedOperationError
 * where `work` would wait for a connection forever.
 *
 * @param records as of {@link Nesting.withSecondConnection}
 */
export function besideTransaction<T>(
  connector: Connector,
  what: string,
  work: () => Promise<T>,
  within?: StoreTransaction,
  records = false,
): Promise<T> {
  const { nesting, sharesPool } = connector;
  return nesting && sharesPool ? nesting.withSecondConnection(what, work, within?.manager, records) : work();
}

/**
 * How long an execution waits where all requests share one connection (SQLite). To give up would lose the outcome of a handler
 * that has run. No request can take its record meanwhile. Claims wait only as long as a statement, because to refuse one
 * loses nothing.
 */
const SINGLE_CONNECTION_PATIENCE_MS = 60_000;

export function patienceOf({ singleConnection }: Connector, timeoutMs: number): number {
  return singleConnection ? Math.max(timeoutMs, SINGLE_CONNECTION_PATIENCE_MS) : timeoutMs;
}

/** Returns an error where a statement would wait for the transaction that it is part of. */
export function nestedIn(connector: Connector, what: string): NestedOperationError | undefined {
  if (!connector.waitsForItself?.()) return undefined;
  const outer = current()?.execution;
  return new NestedOperationError(what, outer?.openTransaction ? outer.endpoint : "the application's own transaction");
}
