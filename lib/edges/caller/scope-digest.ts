import { digestScope } from '../../engine/identity.js';
import type { EncryptionOptions } from '../../store/sealer.js';
import { type DerivedKeys, derivedKeys } from './derived-keys.js';

const PURPOSE = 'nestjs-idempotency: digest of scopes';

/**
 * The digest by which all records of one scope are found: see docs/decisions/0015. With `encryption` it has a key, or a list
 * of users would be found in the table by hashing their ids.
 */
export class ScopeDigest {
  private readonly keys: DerivedKeys;

  constructor(private readonly options: { readonly namespace?: string; readonly encryption?: EncryptionOptions }) {
    this.keys = derivedKeys(options.encryption, PURPOSE);
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
