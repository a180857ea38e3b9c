import { hkdfSync } from 'node:crypto';
import { bindCredential, type IdentityDigest } from '../engine/identity.js';
import type { Operation } from '../engine/operation.js';
import type { EncryptionOptions } from '../store/sealer.js';

/** RFC 5869: another purpose, another key. */
const PURPOSE = 'nestjs-idempotency: binding of credentials';

/**
 * Binds records of callers without a principal to their credential: see docs/decisions/0012. With `encryption`, the digest has
 * a key, which is derived from the current encryption key. What was bound with one of the others is recognised while that key
 * is listed, and so is what was bound before there was encryption.
 */
export class CredentialBinding {
  private readonly key: Uint8Array | undefined;
  private readonly formerKeys: readonly (Uint8Array | undefined)[] = [];

  constructor(encryption: EncryptionOptions | undefined) {
    if (!encryption) return;
    const { keys, current } = encryption;
    const derived = (id: string) => new Uint8Array(hkdfSync('sha256', keys[id], '', PURPOSE, 32));
    this.key = derived(current);
    const others = Object.keys(keys).filter((id) => id !== current);
    this.formerKeys = [...others.map(derived), undefined];
  }

  of(identity: IdentityDigest, credential: string | undefined): Pick<Operation, 'binding' | 'isFormerBinding'> {
    if (credential === undefined) return { binding: null };
    const binding = bindCredential(identity, credential, this.key);
    if (this.formerKeys.length === 0) return { binding };
    return {
      binding,
      isFormerBinding: (other) =>
        this.formerKeys.some((key) => bindCredential(identity, credential, key).equals(other)),
    };
  }
}
