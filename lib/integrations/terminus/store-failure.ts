import { isRetryable } from '../../store/retryable.js';

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

/** SQLSTATE, and the numbers of MySQL: undefined table, undefined column. */
const MISSING = new Set<unknown>(['42P01', '42703', 1146, 1054]);
const MISSING_IN_SQLITE = /^no such (table|column)/;
/** SQLSTATE; MySQL's `--read-only` and read-only transaction or mode; SQLite. */
const READ_ONLY = new Set<unknown>(['25006', 1290, 1792, 1836, 'SQLITE_READONLY']);
/** What node says where a name cannot be resolved, or an address not be reached. */
const NETWORK = /^(E[A-Z]+|EAI_AGAIN)$/;

interface DriverError {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly message: string;
}

interface Wrapper extends DriverError {
  readonly cause?: unknown;
  readonly driverError?: unknown;
}

/** Tells an error of the store in words that may be shown: without addresses, names of users or statements. */
export function storeFailure(error: unknown): StoreFailure {
  const root = rootOf(error);
  const { code } = root;
  const isCode = typeof code === 'string' && /^\w{2,40}$/.test(code);
  return { reason: reasonOf(root, error), ...(isCode && { code }) };
}

function reasonOf(root: DriverError, error: unknown): StoreFailureReason {
  const { code, errno, message } = root;
  if (MISSING.has(code) || MISSING.has(errno) || MISSING_IN_SQLITE.test(message)) return 'table-missing';
  if (READ_ONLY.has(code) || READ_ONLY.has(errno)) return 'read-only';
  if (message.startsWith('no answer')) return 'no-answer';
  return isRetryable(error) || NETWORK.test(String(code)) ? 'unreachable' : 'failed';
}

/** The driver's own error, below what the store and TypeORM wrapped it in. */
function rootOf(error: unknown): DriverError {
  let root: DriverError = { message: String(error) };
  for (let at = error as Wrapper | undefined; at?.message !== undefined; at = (at.cause ?? at.driverError) as Wrapper) {
    root = at;
  }
  return root;
}
