import { causes, type DriverError, lacksRight, says } from '../driver-errors.js';

/** An error after which its connection is broken for good and must be closed. */
export interface Poison {
  /** Broken only if the error repeats for a while: any session may have one slow statement, and a new one is slower at first. */
  readonly ifLasting: boolean;
  /** Every connection opened so far is broken too: it leads to a demoted server, or holds outdated plans. */
  readonly others: boolean;
  /** The statement was refused before it had any effect: another connection may run it at once. */
  readonly refused: boolean;
}

/** The server may no longer write, or prepared plans are outdated. New connections find the current state. */
const STALE: Poison = { ifLasting: false, others: true, refused: true };
/** The session cannot be used any more, and refused the statement before it had any effect. */
const SPENT: Poison = { ifLasting: false, others: false, refused: true };
/** The session ends or aborts the statement. The statement's effect is unknown. */
const BROKEN: Poison = { ifLasting: false, others: false, refused: false };
/** A time limit for statements. A session keeps the limit after it was lifted for new ones. */
const LIMITED: Poison = { ifLasting: true, others: false, refused: false };

/** The code of our own error where a session does not commit statements: a handler has left a transaction open, or `autocommit` off. */
const NOT_COMMITTED = 'NOT_COMMITTED';

export function notCommitted(): Error {
  return Object.assign(new Error('the session has an open transaction, or autocommit off'), { code: NOT_COMMITTED });
}

/**
 * Errors of statements outside of any transaction, or that begin one, where a handler has left a transaction open: PostgreSQL's for
 * one in which a statement has failed, and for another isolation level; MySQL's for the latter.
 */
const LEFT_IN_TRANSACTION: readonly unknown[] = ['25P02', '25001', 1568];

type PoisonTable = readonly (readonly [codes: RegExp, poison: Poison])[];

/** PostgreSQL, by SQLSTATE. */
const SQLSTATE: PoisonTable = [
  // read_only_sql_transaction: a demoted primary, or a standby.
  [/^25006$/, STALE],
  // idle_session_timeout: the server had ended the session before the statement came.
  [/^57P05$/, SPENT],
  // query_canceled, by `statement_timeout`.
  [/^57014$/, LIMITED],
  // Connection exceptions and protocol violations; shutdown, crash, a dropped database; internal errors, which may be of the
  // session's own caches.
  [/^(08...|57P0.|XX...)$/, BROKEN],
];

/** PostgreSQL's error for each statement that was prepared before a column changed its type. */
const STALE_PLAN = { code: '0A000', routine: 'RevalidateCachedQuery' };

/** MySQL and MariaDB, by error number. */
const ERRNO: PoisonTable = [
  // --read-only and super_read_only; a read-only transaction by the session's default; a read-only server; a Galera node
  // that left its cluster; a distributed transaction that a handler has left before its XA COMMIT.
  [/^(1290|1792|1836|1047|1399)$/, STALE],
  // Tables that a handler has left locked (LOCK TABLES): a session may use no other ones. Prepared statements that the server
  // has lost, cannot prepare again, or has too many of; an expired password, for which a session accepts nothing else; a
  // session that was ended for idleness.
  [/^(1099|1100|1243|1615|1461|1820|1862|4031)$/, SPENT],
  // MariaDB's and MySQL's time limits for statements.
  [/^(1969|3024)$/, LIMITED],
  // The server shuts down, or closes the connection: a packet too large (1153) or out of order, a killed session, one
  // that takes too much memory. The client's own: gone away, lost.
  [/^(1053|1152|1153|115[6-9]|116[01]|1184|1927|3169|408[12]|2006|2013|2055)$/, BROKEN],
];

/**
 * Returns how an error, or one of its causes, broke its connection, or `undefined` if it did not.
 *
 * @param isShared whether the store shares the connection with handlers, which may have left it in a role (`SET ROLE`) that
 *   may not write the store's tables, or in a transaction. Such a handler has used most connections of the pool.
 */
export function poisonsConnection(error: unknown, isShared = false): Poison | undefined {
  if (isShared && (lacksRight(error) || causes(error).some(isLeftInTransaction))) return STALE;
  for (const cause of causes(error)) {
    const { code, errno, routine } = cause as { code?: unknown; errno?: unknown; routine?: unknown };
    if (code === NOT_COMMITTED) return STALE;
    if (code === STALE_PLAN.code && routine === STALE_PLAN.routine) return STALE;
    const [table, key] = typeof errno === 'number' ? [ERRNO, errno] : [SQLSTATE, code];
    const entry = table.find(([codes]) => codes.test(String(key)));
    if (entry) return entry[1];
  }
  return undefined;
}

function isLeftInTransaction({ code, errno }: DriverError): boolean {
  return LEFT_IN_TRANSACTION.includes(code) || LEFT_IN_TRANSACTION.includes(errno);
}

/** Of PgBouncer, whose `max_client_conn` has had several codes, and of Supavisor, which has one for all errors. */
const POOLER_IS_FULL = /no more connections allowed|max clients? (?:connections )?reached/i;

/** Returns whether the server, or a pooler in front of it, refused a further connection. */
export function saysTooManyConnections(error: unknown): boolean {
  return says(error, 'tooManyConnections') || causes(error).some(({ message }) => POOLER_IS_FULL.test(message));
}
