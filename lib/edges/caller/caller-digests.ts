import { hkdfSync } from 'node:crypto';
import { bindCredential, digestScope, type IdentityDigest } from '../../engine/identity.js';
import type { Operation } from '../../engine/operation.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';

type Encryption = ResolvedModuleOptions['encryption'];

const OF_BINDINGS = 'nestjs-idempotency: binding of credentials';
const OF_SCOPES = 'nestjs-idempotency: digest of scopes';

/**
 * Binds records of callers without a principal to their credential: see docs/decisions/0012. With `encryption`, the digest has a key
 * that is derived from the current encryption key. Bindings of former keys, and those without a key, are still recognised, or every
 * caller would be a stranger after a rotation.
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
 * The digest that finds all records of a scope: see docs/decisions/0016. With `encryption` it has a key. Otherwise anyone who reads
 * the table could look up a user by hashing the id.
 */
export class ScopeDigest {
  private readonly keys: DerivedKeys;

  constructor(private readonly options: { readonly namespace?: string; readonly encryption?: Encryption }) {
    this.keys = derivedKeys(options.encryption, OF_SCOPES);
  }

  /** Returns the digest for a new record; `null` without a scope, because such records belong to no single caller. */
  of(scope: string): Buffer | null {
    return scope === '' ? null : this.digest(scope, this.keys.current);
  }

  /** Returns the digests that records of a scope may have, under the current key and the former ones. */
  all(scope: string): Buffer[] {
    return [this.keys.current, ...this.keys.former].map((key) => this.digest(scope, key));
  }

  private digest(scope: string, key: Uint8Array | undefined): Buffer {
    return digestScope({ namespace: this.options.namespace, scope }, key);
  }
}

/** The keys of one purpose, derived from those of the option `encryption` by HKDF-SHA-256 (RFC 5869). */
interface DerivedKeys {
  /** For new records; `undefined` without encryption. */
  readonly current: Uint8Array | undefined;
  /** For records from before a rotation, or from before encryption. */
  readonly former: readonly (Uint8Array | undefined)[];
}

function derivedKeys(encryption: Encryption, purpose: string): DerivedKeys {
  if (!encryption) return { current: undefined, former: [] };
  const { keys, current } = encryption;
  const derived = (id: string) => new Uint8Array(hkdfSync('sha256', keys[id], '', purpose, 32));
  const others = Object.keys(keys).filter((id) => id !== current);
  return { current: derived(current), former: [...others.map(derived), undefined] };
}
