/**
 * SQLSTATE classes and codes that say nothing was done and the same may work later: connection lost (08), operator
 * intervention (57P), serialization failure and deadlock (40001, 40P01), too many connections (53300).
 */
const RETRYABLE_SQLSTATE = /^(08|57P|40001|40P01|53300)/;

/** The same as MySQL's numbers: lock wait timeout, deadlock, too many connections, server gone, connection lost. */
const RETRYABLE_ERRNO = new Set([1205, 1213, 1040, 2006, 2013]);

const RETRYABLE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|PROTOCOL_CONNECTION_LOST|SQLITE_BUSY|SQLITE_LOCKED)/;

/** Whether a database error says that the same transaction may be tried again. */
export function isRetryable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause ?? (at as { driverError?: unknown }).driverError) {
    const { code, errno } = at as { code?: unknown; errno?: unknown };
    if (typeof code === 'string' && (RETRYABLE_SQLSTATE.test(code) || RETRYABLE_CODE.test(code))) return true;
    if (typeof errno === 'number' && RETRYABLE_ERRNO.has(errno)) return true;
    if (at.message === 'Connection terminated unexpectedly' || at.message === 'Connection terminated') return true;
  }
  return false;
}
