import { bindCredential, type IdentityDigest } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { EncryptionOptions } from '../../store/sealer.js';
import { type DerivedKeys, derivedKeys } from './derived-keys.js';

const PURPOSE = 'nestjs-idempotency: binding of credentials';

/**
 * Binds records of callers without a principal to their credential: see docs/decisions/0012. With `encryption`, the digest has
 * a key, which is derived from the current encryption key. What was bound with one of the others is recognised while that key
 * is listed, and so is what was bound before there was encryption.
 */
export class CredentialBinding {
  private readonly keys: DerivedKeys;

  constructor(encryption: EncryptionOptions | undefined) {
    this.keys = derivedKeys(encryption, PURPOSE);
  }

  of(identity: IdentityDigest, credential: string | undefined): Pick<Operation, 'binding' | 'isFormerBinding'> {
    if (credential === undefined) return { binding: null };
    const { current, former } = this.keys;
    const binding = bindCredential(identity, credential, current);
    if (former.length === 0) return { binding };
    return {
      binding,
      isFormerBinding: (other) => former.some((key) => bindCredential(identity, credential, key).equals(other)),
    };
  }
}
