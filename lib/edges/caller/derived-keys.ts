import { hkdfSync } from 'node:crypto';
import type { EncryptionOptions } from '../../store/sealer.js';

/** The keys of one purpose, derived from those of the option `encryption` by HKDF-SHA-256 (RFC 5869). */
export interface DerivedKeys {
  /** What is written from now on; `undefined`: no key. */
  readonly current: Uint8Array | undefined;
  /** What may have been written before the keys were rotated, and before there was encryption. */
  readonly former: readonly (Uint8Array | undefined)[];
}

export function derivedKeys(encryption: EncryptionOptions | undefined, purpose: string): DerivedKeys {
  if (!encryption) return { current: undefined, former: [] };
  const { keys, current } = encryption;
  const derived = (id: string) => new Uint8Array(hkdfSync('sha256', keys[id], '', purpose, 32));
  const others = Object.keys(keys).filter((id) => id !== current);
  return { current: derived(current), former: [...others.map(derived), undefined] };
}
