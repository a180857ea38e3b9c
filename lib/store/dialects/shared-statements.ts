import { MAX_RETENTION_MS } from '../../engine/policy.js';
import type { Ownership } from '../../engine/ports/record-store.js';
import { type CompletionRow, NO_OWNER, type TableNames } from './dialect.js';
import { executing, expired, hasStep, unknown } from './predicates.js';

/** What differs between MySQL and SQLite, where instants are milliseconds since 1970 and parameters are `?`. */
interface Terms {
  /** The database's clock. */
  readonly now: string;
  /** An expression: when a record expires that is kept for `?` milliseconds. May name the parameter more than once. */
  readonly expiry: string;
  /** An expression: the name of a step. */
  readonly stepName?: string;
  /** Returns an UPDATE that sets columns of the record `r` which `?, ?, ?` own, and reports whether a request waits for it. */
  readonly updateOwned: (set: string) => string;
}

/** A condition whose parameters {@link owned} returns: the execution owns the record. */
export const OWNED = `id = ? AND owner = ? AND token = ? AND status = 'processing'`;

export function owned({ recordId, owner, token }: Ownership): unknown[] {
  return [recordId, owner, token];
}

/** Returns the parameters of the statement `complete`. @param expiry those of `expiry` */
export function completionValues(c: CompletionRow, expiry: readonly unknown[]): unknown[] {
  return [c.code, c.head, c.body, ...expiry, c.fingerprint, ...owned(c)];
}

export function leaseExpired(now: string): string {
  return `(lease_until <= ${now})`;
}

/** The statements that MySQL and SQLite share. */
export function sharedStatements(
  { record, step }: TableNames,
  { now, expiry, stepName = 's.name', updateOwned }: Terms,
) {
  const isUnknown = unknown({ r: '', leaseExpired: leaseExpired(now) });
  const isExecuting = executing({ r: '', leaseExpired: leaseExpired(now) });
  const columns = `id, owner, status, token, attempt, taken_from, attempts_left, fingerprint, binding,
  lease_until - ${now} AS lease_left, response_code, response_head, response_body`;
  /** NULL stands for the record's own retention. */
  const ownExpiry = expiry.replaceAll('?', 'COALESCE(?, retention_ms)');
  const stays = (...states: readonly string[]) =>
    `CASE WHEN ${hasStep(step, ...states)} THEN ${now} + ${MAX_RETENTION_MS} ELSE ${ownExpiry} END`;
  const isUnchanged = 'id = ? AND token = COALESCE(?, token)';
  return {
    columns,
    read: `SELECT ${columns} FROM ${record}
      WHERE id = ? AND (expires_at > ${now} OR status IN ('processing', 'held'))`,
    complete: updateOwned(`status = 'done', response_code = ?, response_head = ?, response_body = ?,
      completed_at = ${now}, expires_at = ${expiry}, fingerprint = COALESCE(?, fingerprint)`),
    endLease: updateOwned(`status = ?, lease_until = ${now}, expires_at = ${stays('done', 'begun')}`),
    renew: updateOwned(`lease_until = ${now} + ?`),
    markAwaited: `UPDATE ${record} SET awaited = 1 WHERE id = ? AND status = 'processing' AND NOT awaited`,
    /**
     * Tokens and attempts grow together: this leaves out the steps of an earlier operation that has expired. A session of MySQL may have
     * a limit of its own (`sql_select_limit`), and a step that is left out would run again.
     */
    loadSteps: `SELECT ${stepName} AS name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = ? AND s.token > r.token - r.attempt LIMIT ${Number.MAX_SAFE_INTEGER}`,
    resolveDone: `UPDATE ${record} SET status = 'done', owner = '${NO_OWNER}', response_code = ?, response_head = ?,
      response_body = ?, completed_at = ${now}, expires_at = ${ownExpiry} WHERE ${isUnchanged} AND ${isUnknown}`,
    /** What had begun did not happen: it does not keep the record. */
    resolveFree: `UPDATE ${record} AS r SET status = 'failed', expires_at = ${stays('done')} WHERE ${isUnchanged} AND ${isUnknown}`,
    failBegunSteps: `UPDATE ${step} SET status = 'failed' WHERE record_id = ? AND status = 'begun'`,
    forget: `DELETE FROM ${record} WHERE ${isUnchanged} AND (? OR NOT ${isExecuting})`,
    findByScope: (count: number) =>
      `SELECT id FROM ${record} WHERE scope_digest IN (${parameters(count)}) AND NOT ${isExecuting} LIMIT ?`,
    findExpired: `SELECT r.id FROM ${record} r WHERE ${expired(
      { r: 'r.', now },
      `r.lease_until + r.retention_ms <= ${now} AND NOT EXISTS (SELECT 1 FROM ${step} s WHERE s.record_id = r.id)`,
    )} LIMIT ?`,
    forgetSteps: (count: number) => `DELETE FROM ${step} WHERE record_id IN (${parameters(count)})`,
  };
}

export function parameters(count: number): string {
  return Array(count).fill('?').join(', ');
}
