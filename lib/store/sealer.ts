import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { UnreadableRecordError } from '../engine/errors.js';

/** Keys for stored requests and responses. */
export interface EncryptionOptions {
  /** AES-256 keys of 32 bytes, by an id of your choosing (1 to 255 bytes of UTF-8). Old keys are still read. */
  readonly keys: Readonly<Record<string, Uint8Array>>;
  /** The id of the key that new records are sealed with. */
  readonly current: string;
}

/** Where a sealed value belongs; bound in as associated data, so that values cannot be swapped. */
export interface SealedPlace {
  readonly recordId: string;
  /** The column, or the step's name. */
  readonly field: string;
}

/** Protects what is kept of requests and responses. */
export interface Sealer {
  seal(plain: Buffer, place: SealedPlace): Buffer;
  /** @throws UnreadableRecordError where the value was tampered with, moved, or its key is unknown */
  open(sealed: Buffer, place: SealedPlace): Buffer;
}

export const noSealer: Sealer = { seal: (plain) => plain, open: (sealed) => sealed };

const VERSION = 1;
const NONCE = 12;
const TAG = 16;

/**
 * AES-256-GCM (NIST SP 800-38D). Layout: version (1 byte), length of the key id (1), key id, nonce (12), tag (16),
 * ciphertext. Nonces are random: a key is good for 2^32 values, so rotate it long before that.
 */
export class AesGcmSealer implements Sealer {
  constructor(private readonly options: EncryptionOptions) {}

  seal(plain: Buffer, place: SealedPlace): Buffer {
    const keyId = Buffer.from(this.options.current);
    const head = Buffer.concat([Buffer.from([VERSION, keyId.length]), keyId]);
    const nonce = randomBytes(NONCE);
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
      const decipher = createDecipheriv('aes-256-gcm', this.options.keys[keyId], body.subarray(0, NONCE), {
        authTagLength: TAG,
      });
      decipher.setAAD(associatedData(place, head));
      decipher.setAuthTag(body.subarray(NONCE, NONCE + TAG));
      return Buffer.concat([decipher.update(body.subarray(NONCE + TAG)), decipher.final()]);
    } catch (error) {
      throw new UnreadableRecordError({ cause: error });
    }
  }
}

/** The id of the key that a value was sealed with. */
export function keyIdOf(sealed: Buffer): string {
  return sealed.subarray(2, 2 + sealed[1]).toString();
}

function associatedData({ recordId, field }: SealedPlace, head: Buffer): Buffer {
  return Buffer.concat([head, Buffer.from(`${recordId}\n${field}`)]);
}
