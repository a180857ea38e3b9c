import { saysMissingTables } from '../../store/missing-tables.js';
import { causes, type DriverError, isRetryable } from '../../store/driver-errors.js';

/** Why the store is down. */
export type StoreFailureReason =
  /** The database did not answer in time: it hangs, or no connection of the pool was free. */
  | 'no-answer'
  /** No connection could be made, or it broke. */
  | 'unreachable'
  /** The database answers, but lacks a table or a column of ours. */
  | 'table-missing'
  /** The database answers, but refuses writes, as a replica does. */
  | 'read-only'
  /** Anything else. `code` is the database's own. */
  | 'failed';

/** Why the store is down, without anything secret. */
export interface StoreFailure {
  readonly reason: StoreFailureReason;
  /** The driver's own code, such as `42P01` or `ECONNREFUSED`. */
  readonly code?: string;
}

/** PostgreSQL's SQLSTATE, MySQL's errors for a read-only server, transaction and mode, and SQLite's code. */
const READ_ONLY = new Set<unknown>(['25006', 1290, 1792, 1836, 'SQLITE_READONLY']);
/** Node's codes for a name that cannot be resolved, or an address that cannot be reached. */
const NETWORK = /^(E[A-Z]+|EAI_AGAIN)$/;

/** Describes an error of the store without addresses, user names or statements, because health checks are often public. */
export function storeFailure(error: unknown): StoreFailure {
  const code = rootOf(error)?.code;
  const isCode = typeof code === 'string' && /^\w{2,40}$/.test(code);
  return { reason: reasonOf(error), ...(isCode && { code }) };
}

function reasonOf(error: unknown): StoreFailureReason {
  const root = rootOf(error);
  if (saysMissingTables(error)) return 'table-missing';
  if (READ_ONLY.has(root?.code) || READ_ONLY.has(root?.errno)) return 'read-only';
  if (root?.message.startsWith('no answer')) return 'no-answer';
  return isRetryable(error) || NETWORK.test(String(root?.code)) ? 'unreachable' : 'failed';
}

/** Returns the driver's error, which the store and TypeORM have wrapped. */
function rootOf(error: unknown): DriverError | undefined {
  return causes(error).at(-1);
}
