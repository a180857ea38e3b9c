import { createHash, createHmac, hash, randomFillSync } from 'node:crypto';
import { performance } from 'node:perf_hooks';

/** What identifies a record. */
export interface Identity {
  /** The option `namespace`, which separates applications that share a database. */
  readonly namespace?: string | undefined;
  /** The request's host, where its route is for some hosts only. Case does not matter. */
  readonly host?: string | undefined;
  /** The tenant or principal; an empty text without one. */
  readonly scope: string;
  /** The option `operation`, or method and route template. */
  readonly endpoint: string;
  readonly key: string;
}

export interface IdentityDigest {
  /** The first 128 bits as a UUID in lower case: the record's primary key. */
  readonly recordId: string;
  /** All 256 bits, which the fingerprint covers. */
  readonly full: Buffer;
}

/** Half a surrogate pair. UTF-8 turns all of them into U+FFFD, so that different keys would be one. */
const HALF_PAIR = /\p{Surrogate}/u;

/**
 * Digests an identity with SHA-256. Each part but the last is preceded by its length, so that no two identities have the same text: they
 * would share a record, and one caller would get the outcome of another.
 *
 * The text begins with `n` where there is a namespace, then `h` where there is a host, and otherwise with a digit. `w` precedes all of
 * it where it contains half a surrogate pair. Do not change it: every stored record would be lost, and its operation would run again.
 */
export function digestIdentity({ namespace, host, scope, endpoint, key }: Identity): IdentityDigest {
  const space = namespace === undefined ? '' : `n${withLength(namespace)}`;
  const start = host === undefined ? space : `${space}h${withLength(host.toLowerCase())}`;
  const text = `${start}${withLength(scope)}${withLength(endpoint)}${key}`;
  const full = hash('sha256', encoded(text), 'buffer');
  return { recordId: uuidOf(full), full };
}

/**
 * Returns 16 bytes that all records of a scope have in common: SHA-256, or HMAC-SHA-256 with a key that is not in the database. The
 * text begins with `s`, as that of no identity does.
 */
export function digestScope({ namespace, scope }: Pick<Identity, 'namespace' | 'scope'>, key?: Uint8Array): Buffer {
  const start = namespace === undefined ? '' : `n${withLength(namespace)}`;
  const text = encoded(`s${start}${withLength(scope)}`);
  const digest = key ? createHmac('sha256', key).update(text).digest() : hash('sha256', text, 'buffer');
  return digest.subarray(0, 16);
}

function encoded(text: string): string | Buffer {
  return HALF_PAIR.test(text) ? Buffer.from(`w${text}`, 'utf16le') : text;
}

function withLength(text: string): string {
  return `${Buffer.byteLength(text)}:${text}`;
}

/** Up to this length, in characters, a copy and a one-shot hash are cheaper than a hash object. */
const ONE_SHOT_HASH_MAX_LENGTH = 4_096;

/** Returns the stored fingerprint: 32 bytes over the request and the whole identity. */
export function bindFingerprint({ full }: IdentityDigest, request: Uint8Array | string): Buffer {
  if (typeof request !== 'string' || request.length > ONE_SHOT_HASH_MAX_LENGTH) {
    return createHash('sha256').update(full).update(request).digest();
  }
  const bytes = Buffer.allocUnsafe(full.length + Buffer.byteLength(request));
  full.copy(bytes);
  bytes.write(request, full.length);
  return hash('sha256', bytes, 'buffer');
}

/**
 * Binds a record to a credential: HMAC-SHA-256, cut to 16 bytes. It differs from record to record, and cannot be recomputed from the
 * table, as half of the identity's digest is not stored. A plain digest was the same in every record, and a dictionary found a Basic
 * password behind it within milliseconds.
 *
 * @param key a secret that is not in the database, if there is one
 */
export function bindCredential({ full }: IdentityDigest, credential: string, key?: Uint8Array): Buffer {
  const hmac = key ? createHmac('sha256', key).update(full) : createHmac('sha256', full);
  return hmac.update(credential).digest().subarray(0, 16);
}

/**
 * Returns a UUID (version 8, RFC 9562) that is the same for one record and name on every attempt. It covers the client's key, so that a
 * downstream service cannot guess those of other names.
 */
export function deriveUuid(recordId: string, key: string, name: string): string {
  const bytes = hash('sha256', `${recordId}\n${name.length}:${name}\n${key}`, 'buffer');
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return uuidOf(bytes);
}

const HEX = Buffer.from('0123456789abcdef');
const TEXT = Buffer.alloc(36, '-');

/** Writes 16 bytes as a UUID into one buffer. Joining parts of text costs three times as much. */
function uuidOf(bytes: Uint8Array, start = 0): string {
  let at = 0;
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) at++;
    const byte = bytes[start + i];
    TEXT[at++] = HEX[byte >> 4];
    TEXT[at++] = HEX[byte & 0x0f];
  }
  return TEXT.toString('latin1', 0, 36);
}

/** Random bytes for 256 ids, as one call of the generator costs more than its bytes. */
const RANDOM = Buffer.alloc(16 * 256);
let used = RANDOM.length;

/**
 * Returns a random UUID (version 4, RFC 9562). The time is part of it: where a machine is restored twice from one snapshot of its memory,
 * both have the same random bytes. A retry that went to the other one would be taken for the claim of the first, and run beside it.
 */
export function randomId(): string {
  if (used === RANDOM.length) {
    randomFillSync(RANDOM);
    used = 0;
  }
  // `^` takes the lowest 32 bits.
  const nanoseconds = performance.now() * 1e6;
  RANDOM.writeInt32LE(RANDOM.readInt32LE(used) ^ nanoseconds, used);
  RANDOM[used + 6] = (RANDOM[used + 6] & 0x0f) | 0x40;
  RANDOM[used + 8] = (RANDOM[used + 8] & 0x3f) | 0x80;
  const id = uuidOf(RANDOM, used);
  used += 16;
  return id;
}
