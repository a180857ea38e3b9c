import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { UnreadableRecordError } from '../engine/errors.js';

/**
 * Keys for stored requests, responses and step results.
 *
 * @example
 * ```ts
 * encryption: { keys: { '2026': Buffer.from(process.env.IDEMPOTENCY_KEY, 'base64') }, current: '2026' }
 * ```
 */
export interface EncryptionOptions {
  /** AES-256 keys of 32 bytes, by ids of your choice (1 to 255 bytes of UTF-8). Keep old keys until their records expire. */
  readonly keys: Readonly<Record<string, Uint8Array>>;
  /** The id of the key that seals new records. */
  readonly current: string;
}

/** Where a sealed value belongs. It is associated data of the encryption, so that values cannot be swapped. */
export interface SealedPlace {
  readonly recordId: string;
  /** The column, or the name of the step. */
  readonly field: string;
}

/** Encrypts stored requests, responses and step results. */
export interface Sealer {
  seal(plain: Buffer, place: SealedPlace): Buffer;
  /** @throws UnreadableRecordError if the value was changed or moved, or its key is unknown */
  open(sealed: Buffer, place: SealedPlace): Buffer;
}

export const noSealer: Sealer = { seal: (plain) => plain, open: (sealed) => sealed };

/** What of a record is not sealed, and bound to the head of its outcome. */
export interface SealedWith {
  readonly code: number | null;
  readonly body: Uint8Array | null;
  readonly binding?: Uint8Array | null | undefined;
}

/**
 * Returns the field of an outcome's head. It names the status, whether there is a body, and the caller that the record is bound to. None of
 * these is sealed itself: a writer of the table could otherwise change it, take the body away, or have the response sent to
 * another caller.
 */
export function fieldOfHead({ code, body, binding }: SealedWith): string {
  const caller = binding ? ` of ${Buffer.from(binding).toString('hex')}` : '';
  return `head of ${code}${body ? '' : ' without body'}${caller}`;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * AES-256-GCM (NIST SP 800-38D). Layout: version (1 byte), length of the key id (1), key id, nonce (12), tag (16),
 * ciphertext. Nonces are random: rotate a key before it has sealed 2^32 values (section 8.3).
 */
export class AesGcmSealer implements Sealer {
  constructor(private readonly options: EncryptionOptions) {}

  seal(plain: Buffer, place: SealedPlace): Buffer {
    const keyId = Buffer.from(this.options.current);
    const head = Buffer.concat([Buffer.from([VERSION, keyId.length]), keyId]);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.options.keys[this.options.current], nonce);
    cipher.setAAD(associatedData(place, head));
    const ciphertext = Buffer.concat([cipher.update(plain), cipher.final()]);
    return Buffer.concat([head, nonce, cipher.getAuthTag(), ciphertext]);
  }

  open(sealed: Buffer, place: SealedPlace): Buffer {
    try {
      if (sealed[0] !== VERSION) throw new Error('not a sealed value');
      const head = sealed.subarray(0, 2 + sealed[1]);
      const keyId = keyIdOf(sealed);
      if (!Object.hasOwn(this.options.keys, keyId)) throw new Error(`unknown encryption key "${keyId}"`);
      const body = sealed.subarray(head.length);
      const decipher = createDecipheriv('aes-256-gcm', this.options.keys[keyId], body.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(associatedData(place, head));
      decipher.setAuthTag(body.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(body.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
    } catch (error) {
      throw new UnreadableRecordError({ cause: error });
    }
  }
}

export function keyIdOf(sealed: Buffer): string {
  return sealed.subarray(2, 2 + sealed[1]).toString();
}

function associatedData({ recordId, field }: SealedPlace, head: Buffer): Buffer {
  return Buffer.concat([head, Buffer.from(`${recordId}\n${field}`)]);
}
