import { saysMissingTables } from '../../store/missing-tables.js';
import { causes, isRetryable, says } from '../../store/driver-errors.js';

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

/** Describes an error of the store without addresses, user names or statements, because health checks are often public. */
export function storeFailure(error: unknown): StoreFailure {
  // The driver's error, which the store and TypeORM have wrapped.
  const root = causes(error).at(-1);
  const code = root?.code;
  const isCode = typeof code === 'string' && /^\w{2,40}$/.test(code);
  return { reason: reasonOf(error, root?.message), ...(isCode && { code }) };
}

function reasonOf(error: unknown, message = ''): StoreFailureReason {
  if (saysMissingTables(error)) return 'table-missing';
  if (says(error, 'readOnly')) return 'read-only';
  if (message.startsWith('no answer')) return 'no-answer';
  return isRetryable(error) ? 'unreachable' : 'failed';
}
