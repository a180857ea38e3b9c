import { createHash } from 'node:crypto';

/** Who asks for what, under which key: identifies a record. */
export interface Identity {
  /** The tenant or principal; empty where there is none. */
  readonly scope: string;
  /** Method and route template, or the name of an operation. */
  readonly endpoint: string;
  readonly key: string;
}

export interface IdentityDigest {
  /** The first 128 bits of the digest as a UUID in lower case: the record's primary key. */
  readonly recordId: string;
  /** All 256 bits, which go into the fingerprint. */
  readonly full: Buffer;
}

/** SHA-256 over the three parts, each with its length, so that no two identities have the same text. */
export function digestIdentity({ scope, endpoint, key }: Identity): IdentityDigest {
  const full = createHash('sha256')
    .update(`${Buffer.byteLength(scope)}:${scope}${Buffer.byteLength(endpoint)}:${endpoint}${key}`)
    .digest();
  const hex = full.toString('hex', 0, 16);
  return {
    recordId: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
    full,
  };
}

/** The fingerprint on record: of the request, and of the whole identity. 32 bytes. */
export function bindFingerprint(identity: IdentityDigest, request: Uint8Array | string): Buffer {
  return createHash('sha256').update(identity.full).update(request).digest();
}

/**
 * A UUID (version 8, RFC 9562) that is the same for the same record and name, on every attempt. Not to be guessed from
 * the name alone: a downstream service sees neither the client's key nor the record's id.
 */
export function deriveUuid(recordId: string, key: string, name: string): string {
  const bytes = createHash('sha256').update(`${recordId}\n${name.length}:${name}\n${key}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
