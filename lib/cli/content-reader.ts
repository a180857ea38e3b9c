import type { IdempotencyRecord } from '../store/entities/index.js';
import { AesGcmSealer, type EncryptionOptions, fieldOfHead, keyIdOf } from '../store/sealer.js';
import { isSealed, KEYS_VARIABLE } from './encryption-keys.js';
import { messageOf } from './database/connection.js';

/** Stored content, or why it cannot be shown. */
export type Content =
  { readonly kind: 'plain'; readonly bytes: Buffer } | { readonly kind: 'sealed'; readonly why: string };

/** Reads the content of one record, and opens what is sealed if there are keys. */
export class ContentReader {
  constructor(
    private readonly recordId: string,
    private readonly encryption: EncryptionOptions | undefined,
  ) {}

  /** @param bytes JSON, unless it is sealed */
  read(bytes: Buffer | null, field: string): Content | null {
    if (!bytes) return null;
    if (!isSealed({ request: bytes, responseHead: null })) return { kind: 'plain', bytes };
    const content = this.open(bytes, field);
    // The result of a step that has none.
    return content.kind === 'plain' && content.bytes.length === 0 ? null : content;
  }

  readHead({ responseHead, responseCode: code, responseBody: body, binding }: IdempotencyRecord): Content | null {
    return this.read(responseHead, fieldOfHead({ code, body, binding }));
  }

  /** A body can begin with any byte, so its head shows whether it is sealed. */
  readBody({ responseBody, responseHead, request }: IdempotencyRecord): Content | null {
    if (!responseBody) return null;
    if (!isSealed({ request, responseHead })) return { kind: 'plain', bytes: responseBody };
    return this.open(responseBody, 'body');
  }

  private open(bytes: Buffer, field: string): Content {
    const keyId = keyIdOf(bytes);
    if (!this.encryption)
      return { kind: 'sealed', why: `encrypted with key "${keyId}"; give keys in ${KEYS_VARIABLE}` };
    try {
      const opened = new AesGcmSealer(this.encryption).open(bytes, { recordId: this.recordId, field });
      return { kind: 'plain', bytes: opened };
    } catch (error) {
      const reason = messageOf((error as Error).cause ?? error);
      return { kind: 'sealed', why: `encrypted with key "${keyId}", and cannot be read: ${reason}` };
    }
  }
}
