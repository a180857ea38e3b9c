import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What a database error means for the work that met it.
 *
 * - `conflict`: other transactions were in the way, and the database undid this one. The same work may succeed at once.
 * - `outage`: the database could not be asked, or cannot work at present. The same work may succeed later.
 * - `refusal`: the database understood and said no. The same work fails again: retrying it only hides the error.
 */
export type DriverErrorKind = 'conflict' | 'outage' | 'refusal';

/** One table for each driver, as codes mean nothing outside of their database. What no table knows is a refusal. */
interface DriverErrorTable {
  readonly conflict: RegExp;
  readonly outage: RegExp;
  /** Of the conflicts: the statement waited in vain for a row that another transaction has locked. Nothing of it was done. */
  readonly locked?: RegExp;
  /** Of the conflicts: the whole transaction was undone, so that trying it again at once makes sense. */
  readonly undone: RegExp;
  /** The statement's error always comes with a rollback of its whole transaction, which then is over. */
  readonly endsTransaction?: RegExp;
  /** Of the outages: the server accepts no further connection. */
  readonly tooManyConnections?: RegExp;
}

/** PostgreSQL, by SQLSTATE (PostgreSQL documentation, appendix A). */
const SQLSTATE: DriverErrorTable = {
  // serialization_failure, deadlock_detected, lock_not_available
  conflict: /^(40001|40P01|55P03)$/,
  // Connection exceptions; insufficient resources; operator intervention, with query_canceled; system errors; a standby;
  // a prepared statement that a pooler lost or the server can no longer use.
  outage: /^(08...|53...|57014|57P0.|58...|XX...|25006|26000|42P05|0A000)$/,
  locked: /^55P03$/,
  undone: /^(40001|40P01)$/,
  tooManyConnections: /^53300$/,
};

/** MySQL and MariaDB, by error number. */
const ERRNO: DriverErrorTable = {
  // Lock wait timeout, deadlock, MariaDB's "record has changed since last read", NOWAIT.
  conflict: /^(1205|1213|1020|3572)$/,
  // Too many connections, shutdown, out of memory or disk, a read-only server or transaction, an interrupted or killed
  // statement, a Galera node that is not ready, and the client's own 20xx.
  outage:
    /^(1021|1037|1038|1040|1041|1047|1053|1114|1129|1159|1160|1161|1203|1226|1290|1317|1792|1836|1927|1969|3024|4031|20\d\d)$/,
  locked: /^(1205|3572)$/,
  undone: /^(1213|1020)$/,
  // With 1206: no memory for locks.
  endsTransaction: /^(1213|1020|1206)$/,
  // Of the server, of a user, of a resource limit.
  tooManyConnections: /^(1040|1203|1226)$/,
};

/** SQLite, by result code. */
const SQLITE: DriverErrorTable = {
  conflict: /^SQLITE_(BUSY|LOCKED)/,
  outage: /^SQLITE_(IOERR|FULL|NOMEM|CANTOPEN|PROTOCOL|INTERRUPT|READONLY)/,
  undone: /^SQLITE_BUSY$/,
};

/** Node's and mysql2's codes for a connection that cannot be made, or is gone. */
const NETWORK = /^(E[A-Z]{3,}|EAI_AGAIN|PROTOCOL_\w+|POOL_CLOSED)$/;

/** What drivers, their pools and TypeORM say of a connection without giving a code. */
const NETWORK_MESSAGE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Can't add new command when connection is in closed state|Query runner already released|Query read timeout|timeout exceeded when trying to connect|timeout expired|Cannot use a pool after calling end|Pool is closed|Queue limit reached|No connections available|no answer within|waited too long to be sent|Driver not Connected|Cannot execute operation on)/i;

/** A connection that the other side closed while a statement was under way. */
const CLOSED = /^(ECONNRESET|EPIPE|PROTOCOL_CONNECTION_LOST)$/;
const CLOSED_MESSAGE = /^Connection terminated/;

/** Returns whether the connection was closed at a statement, without a word of the database on why. */
export function closedConnection(error: unknown): boolean {
  return causes(error).some(({ code, message }) => CLOSED.test(String(code)) || CLOSED_MESSAGE.test(message));
}

/** Classifies an error by what it, its causes and what TypeORM wrapped say. */
export function kindOf(error: unknown): DriverErrorKind {
  const kinds = causes(error).map(ownKindOf);
  if (kinds.includes('conflict')) return 'conflict';
  return kinds.includes('outage') ? 'outage' : 'refusal';
}

/** Returns whether other transactions were in the way. */
export function isConflict(error: unknown): boolean {
  return kindOf(error) === 'conflict';
}

/** Returns whether an error of a statement always comes with a rollback of its whole transaction, which then is over. */
export function undoesTransaction(error: unknown): boolean {
  return says(error, 'endsTransaction');
}

/** Returns whether an error, one of its causes, or what TypeORM wrapped, stands in this column of its driver's table. */
export function says(error: unknown, what: keyof DriverErrorTable): boolean {
  return causes(error).some((cause) => {
    const { table, code } = entryOf(cause);
    return table?.[what]?.test(code) === true;
  });
}

/** Returns whether the same work may succeed when it is tried again. */
export function isRetryable(error: unknown): boolean {
  return kindOf(error) !== 'refusal';
}

function ownKindOf(error: DriverError): DriverErrorKind {
  const { table, code } = entryOf(error);
  if (!table) return NETWORK.test(code) || NETWORK_MESSAGE.test(error.message) ? 'outage' : 'refusal';
  if (table.conflict.test(code)) return 'conflict';
  return table.outage.test(code) ? 'outage' : 'refusal';
}

/** The table that an error's code belongs to; none for those of the network, and for errors without one. */
function entryOf({ code, errno }: DriverError): { table?: DriverErrorTable; code: string } {
  if (typeof errno === 'number' && errno > 0) return { table: ERRNO, code: String(errno) };
  if (typeof code !== 'string') return { code: '' };
  if (code.startsWith('SQLITE_')) return { table: SQLITE, code };
  if (/^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) return { table: SQLSTATE, code };
  return { code };
}

const CONFLICT_RETRIES = 5;
/** After so many milliseconds a conflict is no passing one. */
const CONFLICT_PATIENCE_MS = 1_000;

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
      const tooLong = retry > CONFLICT_RETRIES || performance.now() - startedAt > CONFLICT_PATIENCE_MS;
      if (tooLong || !isUndone(error)) throw error;
      await sleep(Math.random() * 5 * 2 ** retry);
    }
  }
}

/** Returns whether the database has undone the whole transaction that met this error. */
export function isUndone(error: unknown): boolean {
  return says(error, 'undone');
}

export interface DriverError extends Error {
  readonly code?: unknown;
  readonly errno?: unknown;
  readonly driverError?: unknown;
}

/** The most errors of a chain that are looked at. */
const LONGEST_CHAIN = 16;

/**
 * Returns an error, what caused it, and what TypeORM wrapped. Applications make these chains, in circles too: an endless
 * walk would take the process's memory.
 */
export function causes(error: unknown): DriverError[] {
  const chain = new Set<DriverError>();
  for (let at = error; isErrorLike(at) && !chain.has(at); at = at.cause ?? at.driverError) {
    if (chain.size === LONGEST_CHAIN) break;
    chain.add(at);
  }
  return [...chain];
}

/** Describes an error for the log in one line: its innermost message, with the database's code where it has one. */
export function reasonOf(error: unknown): string {
  const root = causes(error).at(-1);
  if (!root) return typeof error === 'string' ? error : 'unknown error';
  const text = (root.message || root.name || 'unknown error').split('\n')[0];
  const code = [root.code, root.errno].find((one) => typeof one === 'string' || typeof one === 'number');
  return code === undefined || text.includes(`${code}`) ? text : `${text} (${code})`;
}

/** SQLSTATE; MySQL's refusals for a database, a table and a column; SQLite's authorizer. */
const MISSING_RIGHT = ['42501', 1044, 1142, 1143, 'SQLITE_AUTH', 'SQLITE_PERM'];

/** SQLSTATE; MySQL's `--read-only`, read-only transaction and read-only mode; SQLite. */
const READ_ONLY = ['25006', 1290, 1792, 1836, 'SQLITE_READONLY'];

/** What to do about errors whose text does not say it. */
const ADVICE = new Map<unknown, string>([
  ...MISSING_RIGHT.map((code): [unknown, string] => [
    code,
    "The database user lacks a right: it needs SELECT, INSERT, UPDATE and DELETE on both of the library's tables, and on " +
      'PostgreSQL USAGE on their schema',
  ]),
  ...READ_ONLY.map((code): [unknown, string] => [
    code,
    'The database takes no writes: it is a replica, a primary that was demoted, or a file without write permission. ' +
      'Connect to the primary',
  ]),
  [
    '25P02',
    'The handler went on after one of its statements had failed, and PostgreSQL refuses everything until ROLLBACK. Let that ' +
      'error end the handler, or run the statement in a transaction of its own: execution.manager.transaction(...)',
  ],
  [
    '25P03',
    'The handler left its transaction idle for longer than idle_in_transaction_session_timeout. Raise it for the ' +
      "application's role, or keep slow work out of transactional operations",
  ],
  [
    1153,
    'The response, or the result of a step, is larger than max_allowed_packet. Raise it on the server, or lower `response.maxBytes`',
  ],
]);

/** As {@link reasonOf}, with what to do about it. */
export function explain(error: unknown): string {
  const advice = causes(error)
    .map(({ code, errno }) => ADVICE.get(code) ?? ADVICE.get(errno))
    .find(Boolean);
  return advice ? `${reasonOf(error)}. ${advice}` : reasonOf(error);
}

/** Not `instanceof`: a native driver is loaded once a process, and throws errors of the realm that loaded it first. */
export function isErrorLike(value: unknown): value is DriverError {
  return typeof value === 'object' && value !== null && typeof (value as DriverError).message === 'string';
}
