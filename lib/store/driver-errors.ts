import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What a database error means for the statement or transaction that got it.
 *
 * - `conflict`: it collided with other transactions, and the database undid it. A retry may succeed at once.
 * - `outage`: the database cannot be reached, or cannot work at present. A retry may succeed later.
 * - `refusal`: the database refused it. A retry fails again, and only hides the error.
 */
export type DriverErrorKind = 'conflict' | 'outage' | 'refusal';

/** The codes of one driver, as patterns. A code that is in no table is a refusal. */
interface DriverErrorTable {
  readonly conflict: RegExp;
  readonly outage: RegExp;
  /** Of the conflicts: the statement waited too long for a row that another transaction has locked. It had no effect. */
  readonly locked?: RegExp;
  /** Of the conflicts: the database undid the whole transaction, so that it may be tried again at once. */
  readonly undone: RegExp;
  /** The database always rolls back the whole transaction with this error. The connection is in autocommit then. */
  readonly endsTransaction?: RegExp;
  /** The server closes the connection with this error, and says why in no other. */
  readonly closesConnection?: RegExp;
  /** Of the outages: the server refuses a further connection. */
  readonly tooManyConnections?: RegExp;
  /** Of the outages: the server, session or transaction takes no writes. */
  readonly readOnly: RegExp;
  /** The user may not do what the statement asks. */
  readonly missingRight: RegExp;
  /** A table or a column does not exist. */
  readonly missingTable?: RegExp;
}

/** PostgreSQL, by SQLSTATE (PostgreSQL documentation, appendix A). */
const SQLSTATE: DriverErrorTable = {
  // serialization_failure, deadlock_detected, lock_not_available
  conflict: /^(40001|40P01|55P03)$/,
  // Connection exceptions; insufficient resources; operator intervention, with query_canceled; system errors; a standby;
  // a prepared statement that a pooler lost or the server can no longer use; CockroachDB's COMMIT that may have happened.
  outage: /^(08...|53...|57014|57P0.|58...|XX...|25006|26000|42P05|0A000|40003)$/,
  locked: /^55P03$/,
  undone: /^(40001|40P01)$/,
  // Of an idle or a long transaction; operator intervention, but for query_canceled.
  closesConnection: /^(25P03|25P04|57P0.)$/,
  tooManyConnections: /^53300$/,
  readOnly: /^25006$/,
  missingRight: /^42501$/,
  missingTable: /^(42P01|42703)$/,
};

/** MySQL and MariaDB, by error number. */
const ERRNO: DriverErrorTable = {
  // Lock wait timeout, deadlock, MariaDB's "record has changed since last read", a table that was altered after the transaction's
  // snapshot, NOWAIT, a COMMIT that group replication does not certify.
  conflict: /^(1205|1213|1020|1412|3572|3101)$/,
  // Too many connections, transactions or prepared statements, shutdown, out of memory, threads or disk, a read-only or offline server,
  // schema or transaction, an interrupted or killed statement, session or connection, a node that is not ready (1047 of Galera, 3100 and 37xx of group replication),
  // the client's own 20xx, and ProxySQL's 90xx: it reaches no server. What the operating system refuses the server, such as space on a disk:
  // numbers below 100, a file that it writes to, a storage engine.
  outage:
    /^([1-9]\d?|1021|1026|1030|1037|1038|1040|1041|1047|1053|1114|1129|1135|1152|115[4-9]|116[01]|1184|1203|1226|1290|1317|1461|1637|1792|1836|1874|1927|1969|3015|3024|3032|3100|316[89]|378[1-3]|379[6-9]|398[59]|4031|408[12]|20\d\d|90\d\d)$/,
  locked: /^(1205|3572)$/,
  undone: /^(1213|1020|3101)$/,
  // With 1206: no memory for locks.
  endsTransaction: /^(1213|1020|1206|3101)$/,
  // Of the server, of a user, of a resource limit.
  tooManyConnections: /^(1040|1203|1226)$/,
  // `--read-only`, a read-only transaction, read-only mode, InnoDB's own, and ALTER SCHEMA … READ ONLY = 1.
  readOnly: /^(1290|1792|1836|1874|3989)$/,
  // To a database, a table and a column.
  missingRight: /^(1044|1142|1143)$/,
  missingTable: /^(1146|1054)$/,
};

/**
 * Galera's replication, by its message: MariaDB's number 1180 (an error during COMMIT) stands for a node that has lost its cluster, and
 * also for a write that is too large. Only the latter fails again.
 */
const REPLICATION_OUTAGE = /\bprovider status: (?!Transaction size exceeded)/;

/** SQLite, by result code. */
const SQLITE: DriverErrorTable = {
  conflict: /^SQLITE_(BUSY|LOCKED)/,
  outage: /^SQLITE_(IOERR|FULL|NOMEM|CANTOPEN|PROTOCOL|INTERRUPT|READONLY)/,
  undone: /^SQLITE_BUSY$/,
  readOnly: /^SQLITE_READONLY$/,
  missingRight: /^SQLITE_(AUTH|PERM)$/,
};

/** Codes of node and mysql2 for a connection that cannot be opened, or is lost. */
const NETWORK = /^(E[A-Z]{3,}|EAI_AGAIN|PROTOCOL_\w+|POOL_\w+)$/;

/** Messages of drivers, their pools and TypeORM about a connection, for errors without a code. */
const NETWORK_MESSAGE =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|Can't add new command when connection is in closed state|Query runner already released|Query read timeout|timeout exceeded when trying to connect|timeout expired|Cannot use a pool after calling end|Pool is closed|Queue limit reached|No connections available|no answer within|waited too long to be sent|Driver not Connected|Cannot execute operation on)/i;

/** The server closed the connection while a statement was in flight. */
const CLOSED = /^(ECONNRESET|EPIPE|PROTOCOL_CONNECTION_LOST)$/;
const CLOSED_MESSAGE = /^Connection terminated/;

/** Returns whether the server closed the connection at a statement without reporting a reason. */
export function closedConnection(error: unknown): boolean {
  return causes(error).some(({ code, message }) => CLOSED.test(String(code)) || CLOSED_MESSAGE.test(message));
}

/** Classifies an error by its own code and those of its {@link causes}. */
export function kindOf(error: unknown): DriverErrorKind {
  const kinds = causes(error).map(ownKindOf);
  if (kinds.includes('conflict')) return 'conflict';
  return kinds.includes('outage') ? 'outage' : 'refusal';
}

/** Returns whether an error, or one of its {@link causes}, is listed under `what` in its driver's table. */
export function says(error: unknown, what: keyof DriverErrorTable): boolean {
  return causes(error).some((cause) => {
    const { table, code } = entryOf(cause);
    return table?.[what]?.test(code) === true;
  });
}

export function isRetryable(error: unknown): boolean {
  return kindOf(error) !== 'refusal';
}

/** The errors of connections that could not be opened. */
const unopened = new WeakSet<object>();

/**
 * Notes that an error is of a connection that could not be opened, and returns it. It refuses no statement, whatever its code: a role
 * that may not log in, a password that is being changed and a database that is renamed are back a moment later.
 */
export function asUnopened(error: unknown): unknown {
  if (isErrorLike(error)) unopened.add(error);
  return error;
}

function ownKindOf(error: DriverError): DriverErrorKind {
  if (unopened.has(error)) return 'outage';
  const { table, code } = entryOf(error);
  if (!table) return NETWORK.test(code) || NETWORK_MESSAGE.test(error.message) ? 'outage' : 'refusal';
  if (table.conflict.test(code)) return 'conflict';
  const isOutage = table.outage.test(code) || (code === '1180' && REPLICATION_OUTAGE.test(error.message));
  return isOutage ? 'outage' : 'refusal';
}

/** Returns the table that an error's code belongs to; none for codes of the network, and for errors without a code. */
function entryOf({ code, errno, fatal }: DriverError): { table?: DriverErrorTable; code: string } {
  // The error with which a server or a proxy ends an idle connection has its number as `code` in mysql2. Others' codes are numbers, too.
  const number = fatal === true && typeof code === 'number' ? code : errno;
  if (typeof number === 'number' && number > 0) return { table: ERRNO, code: String(number) };
  if (typeof code !== 'string') return { code: '' };
  if (code.startsWith('SQLITE_')) return { table: SQLITE, code };
  if (/^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) return { table: SQLSTATE, code };
  return { code };
}

const CONFLICT_RETRIES = 5;
/** A conflict that lasts longer is not a passing one: a further retry would only delay the error. */
const CONFLICT_PATIENCE_MS = 1_000;

/**
 * Runs a statement that is a transaction of its own. Runs it again after a deadlock, or after a serialization failure at a
 * default isolation level above READ COMMITTED.
 */
export function retryingConflicts<T>(work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  return work().catch((error: unknown) => retryAfter(error, work, startedAt));
}

async function retryAfter<T>(error: unknown, work: () => Promise<T>, startedAt: number): Promise<T> {
  let refusal = error;
  for (let retry = 1; ; retry++) {
    const tooLong = retry > CONFLICT_RETRIES || performance.now() - startedAt > CONFLICT_PATIENCE_MS;
    if (tooLong || !says(refusal, 'undone')) throw refusal;
    await sleep(Math.random() * 5 * 2 ** retry);
    try {
      return await work();
    } catch (next) {
      refusal = next;
    }
  }
}

export interface DriverError extends Error {
  readonly code?: unknown;
  readonly errno?: unknown;
  /** In mysql2, whether the connection is lost. */
  readonly fatal?: unknown;
  readonly driverError?: unknown;
}

/** How many errors of a chain are examined. */
const MAX_CAUSES = 16;

/**
 * Returns an error, its causes, and the driver's error that TypeORM wrapped. The walk is limited: applications build these
 * chains, and circular or endless ones would exhaust the memory.
 */
export function causes(error: unknown): DriverError[] {
  const chain = new Set<DriverError>();
  for (let at = error; isErrorLike(at) && !chain.has(at); at = at.cause ?? at.driverError) {
    if (chain.size === MAX_CAUSES) break;
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

/** Returns whether the database refused a statement because its user may not do what it asks. */
export function lacksRight(error: unknown): boolean {
  return says(error, 'missingRight');
}

/** Returns whether the database knows no savepoint of the name that a statement gives. SQLite has no code for it. */
export function lacksSavepoint(error: unknown): boolean {
  return causes(error).some(
    ({ code, errno, message }) => code === '3B001' || errno === 1305 || message.startsWith('no such savepoint'),
  );
}

const ABOUT_RIGHTS =
  "The database user lacks a right: it needs SELECT, INSERT, UPDATE and DELETE on both of the library's tables, and on " +
  'PostgreSQL USAGE on their schema. A role that a handler takes (SET ROLE) needs them too';

const ABOUT_WRITES =
  'The database takes no writes: it is a replica, a primary that was demoted, a file without write permission, or the ' +
  'session or the transaction was set to read only. Connect to the primary';

/** What to do about other errors, by their codes, where the database's message does not say it. */
const ADVICE = new Map<unknown, string>([
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
    '25P04',
    "The handler's transaction took longer than transaction_timeout. Raise it for the application's role, or keep slow work " +
      'out of transactional operations',
  ],
  [
    4031,
    "The handler left its transaction idle for longer than wait_timeout. Raise it for the application's sessions, or keep slow work out of " +
      'transactional operations',
  ],
  ...[1366, '22P05'].map((code): [unknown, string] => [
    code,
    'The name of the operation, or of a step, has characters that the encoding of the column or of the database lacks. Use ' +
      'ASCII, or UTF-8 for the database (utf8mb4 on MySQL)',
  ]),
  [
    1153,
    'The response, or the result of a step, is larger than max_allowed_packet. Raise it on the server, or lower `response.maxBytes`',
  ],
]);

/** As {@link reasonOf}, with advice where there is some. */
export function explain(error: unknown): string {
  const advice = adviceOn(error);
  return advice ? `${reasonOf(error)}. ${advice}` : reasonOf(error);
}

function adviceOn(error: unknown): string | undefined {
  if (lacksRight(error)) return ABOUT_RIGHTS;
  if (says(error, 'readOnly')) return ABOUT_WRITES;
  return causes(error)
    .map(({ code, errno }) => ADVICE.get(code) ?? ADVICE.get(errno))
    .find(Boolean);
}

/** Not `instanceof`: a native driver is loaded once per process, and throws errors of the realm that loaded it first. */
function isErrorLike(value: unknown): value is DriverError {
  return typeof value === 'object' && value !== null && typeof (value as DriverError).message === 'string';
}
