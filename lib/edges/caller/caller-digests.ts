import { hkdfSync } from 'node:crypto';
import { bindCredential, digestScope, type IdentityDigest } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';

type Encryption = ResolvedModuleOptions['encryption'];

const OF_BINDINGS = 'nestjs-idempotency: binding of credentials';
const OF_SCOPES = 'nestjs-idempotency: digest of scopes';

/**
 * Binds records of callers without a principal to their credential: see docs/decisions/0012. With `encryption`, the digest has
 * a key, which is derived from the current encryption key. What was bound with one of the others is recognised while that key
 * is listed, and so is what was bound before there was encryption.
 */
export class CredentialBinding {
  private readonly keys: DerivedKeys;

  constructor(encryption: Encryption) {
    this.keys = derivedKeys(encryption, OF_BINDINGS);
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

/**
 * The digest by which all records of one scope are found: see docs/decisions/0016. With `encryption` it has a key, or a list
 * of users would be found in the table by hashing their ids.
 */
export class ScopeDigest {
  private readonly keys: DerivedKeys;

  constructor(private readonly options: { readonly namespace?: string; readonly encryption?: Encryption }) {
    this.keys = derivedKeys(options.encryption, OF_SCOPES);
  }

  /** Returns what a new record keeps; `null` without a scope: such records are not those of one caller. */
  of(scope: string): Buffer | null {
    return scope === '' ? null : this.digest(scope, this.keys.current);
  }

  /** Returns every digest that records of a scope may have, under the present key and the former ones. */
  all(scope: string): Buffer[] {
    return [this.keys.current, ...this.keys.former].map((key) => this.digest(scope, key));
  }

  private digest(scope: string, key: Uint8Array | undefined): Buffer {
    return digestScope({ namespace: this.options.namespace, scope }, key);
  }
}

/** The keys of one purpose, derived from those of the option `encryption` by HKDF-SHA-256 (RFC 5869). */
interface DerivedKeys {
  /** What is written from now on; `undefined`: no key. */
  readonly current: Uint8Array | undefined;
  /** What may have been written before the keys were rotated, and before there was encryption. */
  readonly former: readonly (Uint8Array | undefined)[];
}

function derivedKeys(encryption: Encryption, purpose: string): DerivedKeys {
  if (!encryption) return { current: undefined, former: [] };
  const { keys, current } = encryption;
  const derived = (id: string) => new Uint8Array(hkdfSync('sha256', keys[id], '', purpose, 32));
  const others = Object.keys(keys).filter((id) => id !== current);
  return { current: derived(current), former: [...others.map(derived), undefined] };
}
