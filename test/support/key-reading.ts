import { IdempotencyKeyInvalidException } from '../../lib/problems/problems.js';

/** What reading a key comes to. */
export type KeyReading =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'invalid'; readonly problem: string };

/** Returns what `read` comes to. Other errors are thrown. */
export function readingOf(read: () => string | undefined): KeyReading {
  try {
    const key = read();
    return key === undefined ? { kind: 'missing' } : { kind: 'key', key };
  } catch (error) {
    if (!(error instanceof IdempotencyKeyInvalidException)) throw error;
    return { kind: 'invalid', problem: error.message };
  }
}
