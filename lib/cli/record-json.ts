import type { IdempotencyRecord } from '../store/entities/index.js';

/** A record without its content, as `--json` prints it. Scripts read these names: they do not follow the columns. */
export function summaryOf(record: IdempotencyRecord): Record<string, unknown> {
  return {
    recordId: record.id,
    endpoint: record.endpoint,
    route: record.route,
    status: record.status,
    attempt: record.attempt,
    token: record.token,
    takenFrom: record.takenFrom,
    holdOnCrash: record.holdOnCrash,
    awaited: record.awaited,
    responseCode: record.responseCode,
    createdAt: record.createdAt,
    leaseUntil: record.leaseUntil,
    completedAt: record.completedAt,
    expiresAt: record.expiresAt,
  };
}
