import { parseDictionary } from 'structured-headers';
import type { Policy } from '../../engine/policy.js';

/**
 * Returns the seconds of `Prefer: wait=N` (RFC 7240, section 4.3) in milliseconds; `undefined` if it is absent or malformed. Section 2
 * asks servers to ignore a preference that they do not understand.
 */
function preferredWait(prefer: string | string[] | undefined): number | undefined {
  if (prefer === undefined) return undefined;
  try {
    const wait = parseDictionary(String(prefer).toLowerCase()).get('wait')?.[0];
    return typeof wait === 'number' && wait >= 0 ? wait * 1_000 : undefined;
  } catch {
    return undefined;
  }
}

/** Shortens the time that a duplicate waits to what its client prefers. A client cannot extend it. */
export function withPreference(policy: Policy, prefer: string | string[] | undefined): Policy {
  const waitMs = preferredWait(prefer);
  return waitMs === undefined ? policy : { ...policy, waitTimeoutMs: Math.min(policy.waitTimeoutMs, waitMs) };
}
