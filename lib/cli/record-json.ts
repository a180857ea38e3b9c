import type { IdempotencyRecord } from '../store/entities/index.js';
import { asText } from './output/format.js';

/** A record without its content, as `--json` prints it. */
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

/** Content as `--json` prints it: text, or an object that says why not. */
export type ContentJson = string | null | { readonly base64: string } | { readonly encrypted: string };

export function contentOf(content: Buffer): ContentJson {
  return asText(content) ?? { base64: content.toString('base64') };
}
