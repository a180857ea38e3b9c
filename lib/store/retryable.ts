import { setTimeout as sleep } from 'node:timers/promises';

/**
 * SQLSTATE classes and codes that say nothing was done and the same may work later: connection lost (08), operator
 * intervention (57P), serialization failure and deadlock (40001, 40P01), too many connections (53300), and a prepared
 * statement that a pooler has lost (26000, 42P05).
 */
const RETRYABLE_SQLSTATE = /^(08|57P|40001|40P01|53300|26000|42P05)/;

/**
 * The same as MySQL's numbers: lock wait timeout, deadlock, MariaDB's "record has changed since last read", too many
 * connections, server shutting down, server gone, connection lost.
 */
const RETRYABLE_ERRNO = new Set([1205, 1213, 1020, 1040, 1053, 2006, 2013]);

const RETRYABLE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|PROTOCOL_CONNECTION_LOST|SQLITE_BUSY|SQLITE_LOCKED)/;

/** What drivers, and TypeORM, say of a connection that is gone, without a code. */
const RETRYABLE_MESSAGE =
  /^(Connection terminated|Client has encountered a connection error|Can't add new command when connection is in closed state|Query runner already released)/;

/** Whether a database error says that the same transaction may be tried again. */
export function isRetryable(error: unknown): boolean {
  return causes(error).some(
    ({ code, errno, message }) =>
      (typeof code === 'string' && (RETRYABLE_SQLSTATE.test(code) || RETRYABLE_CODE.test(code))) ||
      (typeof errno === 'number' && RETRYABLE_ERRNO.has(errno)) ||
      RETRYABLE_MESSAGE.test(message),
  );
}

/** Other transactions were in the way, and the database undid the whole of this one. */
const CONFLICT = new Set<unknown>(['40001', '40P01', 1213, 1020, 'SQLITE_BUSY']);

const CONFLICT_RETRIES = 5;
/** After so many milliseconds a conflict is no passing one. */
const CONFLICT_PATIENCE = 1_000;

/**
 * Runs a statement of ours that stands alone, again where it met others: a deadlock, or a serialization failure where
 * the pool's default isolation level is higher than READ COMMITTED.
 */
export async function retryingConflicts<T>(work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  for (let retry = 1; ; retry++) {
    try {
      return await work();
    } catch (error) {
      const tooLong = retry > CONFLICT_RETRIES || performance.now() - startedAt > CONFLICT_PATIENCE;
      if (tooLong || !isConflict(error)) throw error;
      await sleep(Math.random() * 5 * 2 ** retry);
    }
  }
}

function isConflict(error: unknown): boolean {
  return causes(error).some(({ code, errno }) => CONFLICT.has(code) || CONFLICT.has(errno));
}

export interface DriverError extends Error {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly driverError?: unknown;
}

/** An error, what caused it, and what TypeORM wrapped. */
export function causes(error: unknown): DriverError[] {
  const chain: DriverError[] = [];
  for (let at = error; isErrorLike(at); at = at.cause ?? at.driverError) chain.push(at);
  return chain;
}

/** Not `instanceof`: a native driver is loaded once a process, and throws errors of the realm that loaded it first. */
export function isErrorLike(value: unknown): value is DriverError {
  return typeof value === 'object' && value !== null && typeof (value as DriverError).message === 'string';
}
