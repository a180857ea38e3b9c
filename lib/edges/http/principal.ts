import { createHash } from 'node:crypto';
import type { PlatformRequest } from './exchange.js';

/** Whom a key belongs to. */
export interface Principal {
  /** Part of the record's identity: principals with the same key do not meet. */
  readonly scope: string;
  /** Digest of the credential that a record without a principal is bound to. 16 bytes. */
  readonly binding: Buffer | null;
}

/**
 * The authenticated principal: `id` or `sub` of `request.user`. With none, the record is bound to the `Authorization`
 * header, so that a key that leaked is of no use to another caller.
 *
 * @throws Error where `request.user` names nobody: its users would share their keys
 */
export function principalOf({ user, headers }: PlatformRequest): Principal {
  if (user !== undefined && user !== null) {
    const { id, sub } = user as { id?: unknown; sub?: unknown };
    const scope = textOf(id ?? sub);
    if (scope === '') {
      throw new Error(
        'Idempotency cannot tell users apart: request.user has neither `id` nor `sub`. Set the option `scope`.',
      );
    }
    return { scope, binding: null };
  }
  const { authorization } = headers;
  return {
    scope: '',
    binding: authorization ? createHash('sha256').update(authorization).digest().subarray(0, 16) : null,
  };
}

/** Ids are text, numbers, or objects with a text of their own (such as an ObjectId); all others look the same. */
function textOf(id: unknown): string {
  switch (typeof id) {
    case 'string':
    case 'number':
    case 'bigint':
      return String(id);
    case 'object': {
      const text = (id as { toString?: () => string } | null)?.toString?.() ?? '';
      return text.startsWith('[object ') ? '' : text;
    }
    default:
      return '';
  }
}
