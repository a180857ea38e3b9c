import { types } from 'node:util';
import type { PlatformRequest } from './exchange.js';

/** Whom a key belongs to. */
export interface Principal {
  /** Part of the record's identity: the same key of two principals names two records. */
  readonly scope: string;
  /** What tells callers without a principal apart, as they sent it: a secret, never to be stored. */
  readonly credential?: string;
}

/**
 * The authenticated principal: `id` or `sub` of `request.user`. Without a principal, the `Authorization` header: a record that
 * is bound to it is of no use to another caller who learnt the key.
 *
 * @throws Error where the id in `request.user` does not tell users apart: they would share their keys
 */
export function principalOf({ user, headers }: PlatformRequest): Principal {
  if (user === undefined || user === null) return { scope: '', credential: headers.authorization || undefined };
  const { id, sub } = user as { id?: unknown; sub?: unknown };
  const scope = textOf(id ?? sub);
  if (scope !== '') return { scope };
  throw new Error(
    'Idempotency cannot tell users apart: request.user has neither `id` nor `sub`. Set the option `scope`.',
  );
}

const BYTES = 'bytes:';
/** Texts that could be taken for the text of bytes, and those that have been escaped for it. */
const LIKE_BYTES = /^(text:)*bytes:/;

/**
 * An id as text; empty for what does not tell users apart. Numbers, bigints and texts that look the same are the same:
 * drivers return one column as any of them.
 */
function textOf(id: unknown): string {
  switch (typeof id) {
    case 'string':
      return LIKE_BYTES.test(id) ? `text:${id}` : id;
    case 'number':
      // Beyond 2^53, neighbours are one number. NaN is everybody whose id could not be parsed.
      return Math.abs(id) <= Number.MAX_SAFE_INTEGER ? String(id) : '';
    case 'bigint':
      return String(id);
    case 'object':
      return id === null ? '' : textOfObject(id);
    default:
      return '';
  }
}

function textOfObject(id: object): string {
  // Read as UTF-8, most bytes of a BINARY(16) key become U+FFFD, and many users one.
  if (ArrayBuffer.isView(id)) {
    return id.byteLength > 0 ? BYTES + Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex') : '';
  }
  // The text of an array is also that of others, such as ['a,b'] and ['a', 'b'].
  if (Array.isArray(id)) return '';
  // The text of a date has no milliseconds.
  if (types.isDate(id)) return Number.isNaN(id.getTime()) ? '' : id.toISOString();
  const { toString } = id as { toString?: unknown };
  const text: unknown = typeof toString === 'function' ? toString.call(id) : '';
  return typeof text === 'string' && !text.startsWith('[object ') && !text.includes('\ufffd') ? textOf(text) : '';
}
