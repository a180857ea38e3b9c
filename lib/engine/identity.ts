import { createHash, createHmac, hash, randomFillSync } from 'node:crypto';

/** Who asks for what, under which key: identifies a record. */
export interface Identity {
  /** Keeps applications on one database apart; absent where there is one. */
  readonly namespace?: string | undefined;
  /** Of the request, in any case, where its route is for some hosts alone. */
  readonly host?: string | undefined;
  /** The tenant or principal; empty where there is none. */
  readonly scope: string;
  /** The name of the operation; where it has none, method and route template. */
  readonly endpoint: string;
  readonly key: string;
}

export interface IdentityDigest {
  /** The first 128 bits of the digest as a UUID in lower case: the record's primary key. */
  readonly recordId: string;
  /** All 256 bits, which go into the fingerprint. */
  readonly full: Buffer;
}

/** Half a surrogate pair: in UTF-8, each of them becomes the same character (U+FFFD). */
const HALF_PAIR = /\p{Surrogate}/u;

/**
 * SHA-256 over the parts. All but the last have their length before them, so that no two identities have the same text: with
 * one text they would be one record, and a caller would get the outcome of another.
 *
 * The text begins with a digit; with `n` where there is a namespace, `h` where there is a host, and before them `w` where it has
 * half a surrogate pair. It is on record in all tables, as a digest: another text would make every key a new one.
 */
export function digestIdentity({ namespace, host, scope, endpoint, key }: Identity): IdentityDigest {
  const space = namespace === undefined ? '' : `n${withLength(namespace)}`;
  const start = host === undefined ? space : `${space}h${withLength(host.toLowerCase())}`;
  const text = `${start}${withLength(scope)}${withLength(endpoint)}${key}`;
  const full = hash('sha256', encoded(text), 'buffer');
  return { recordId: uuidOf(full), full };
}

/**
 * What all records of a scope have in common: 16 bytes of SHA-256, or of HMAC-SHA-256 with a key that is not in the database.
 * The text begins with `s`, so that it is that of no identity.
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

/** Up to so many characters, a text is copied behind the identity and hashed at once: a hash object costs more. */
const HASHED_AT_ONCE = 4_096;

/** The fingerprint on record: of the request, and of the whole identity. 32 bytes. */
export function bindFingerprint({ full }: IdentityDigest, request: Uint8Array | string): Buffer {
  if (typeof request !== 'string' || request.length > HASHED_AT_ONCE) {
    return createHash('sha256').update(full).update(request).digest();
  }
  const bytes = Buffer.allocUnsafe(full.length + Buffer.byteLength(request));
  full.copy(bytes);
  bytes.write(request, full.length);
  return hash('sha256', bytes, 'buffer');
}

/**
 * The binding of a record: HMAC-SHA-256 of a credential, cut to 16 bytes. It differs from record to record, and
 * cannot be computed from the table: half of the identity's digest, which goes in, is not stored. A plain digest was the
 * same in each record, and a dictionary found a Basic password behind it within milliseconds.
 *
 * @param key a secret that is not in the database, if there is one
 */
export function bindCredential({ full }: IdentityDigest, credential: string, key?: Uint8Array): Buffer {
  const hmac = key ? createHmac('sha256', key).update(full) : createHmac('sha256', full);
  return hmac.update(credential).digest().subarray(0, 16);
}

/**
 * A UUID (version 8, RFC 9562) that is the same for the same record and name, on every attempt. Not to be guessed from
 * the name alone: a downstream service sees neither the client's key nor the record's id.
 */
export function deriveUuid(recordId: string, key: string, name: string): string {
  const bytes = hash('sha256', `${recordId}\n${name.length}:${name}\n${key}`, 'buffer');
  bytes[6] = (bytes[6] & 0x0f) | 0x80;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return uuidOf(bytes);
}

const HEX = Buffer.from('0123456789abcdef');
const TEXT = Buffer.alloc(36, '-');

/** The first 16 bytes from `start` as a UUID, written at once: a text that is put together of parts costs thrice as much. */
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

const RANDOM = Buffer.alloc(16 * 256);
let used = RANDOM.length;

/** A random UUID (version 4, RFC 9562). */
export function randomId(): string {
  if (used === RANDOM.length) {
    randomFillSync(RANDOM);
    used = 0;
  }
  RANDOM[used + 6] = (RANDOM[used + 6] & 0x0f) | 0x40;
  RANDOM[used + 8] = (RANDOM[used + 8] & 0x3f) | 0x80;
  const id = uuidOf(RANDOM, used);
  used += 16;
  return id;
}
