import { saysMissingTables } from '../../store/missing-tables.js';
import { causes, type DriverError, isRetryable } from '../../store/driver-errors.js';

/** Why the store does not do. */
export type StoreFailureReason =
  /** It did not answer in time: it hangs, or no connection of the pool was free. */
  | 'no-answer'
  /** No connection can be made, or it was lost. */
  | 'unreachable'
  /** The database answers, but lacks a table or a column of ours. */
  | 'table-missing'
  /** It answers, but takes no writes: a replica, perhaps. */
  | 'read-only'
  /** Anything else: `code` is the database's own. */
  | 'failed';

/** Why the store does not do, in words that may be shown. */
export interface StoreFailure {
  readonly reason: StoreFailureReason;
  /** The driver's own code, such as `42P01` or `ECONNREFUSED`. */
  readonly code?: string;
}

/** SQLSTATE; MySQL's `--read-only` and read-only transaction or mode; SQLite. */
const READ_ONLY = new Set<unknown>(['25006', 1290, 1792, 1836, 'SQLITE_READONLY']);
/** What node says where a name cannot be resolved, or an address not be reached. */
const NETWORK = /^(E[A-Z]+|EAI_AGAIN)$/;

/** Describes an error of the store in words that may be shown: without addresses, names of users or statements. */
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

/** The driver's own error, below what the store and TypeORM wrapped it in. */
function rootOf(error: unknown): DriverError | undefined {
  return causes(error).at(-1);
}
