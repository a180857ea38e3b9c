import { parseDictionary } from 'structured-headers';
import type { Policy } from '../../engine/policy.js';

/**
 * Shortens the time that a duplicate waits to what its client prefers by `Prefer: wait=N` (RFC 7240, section 4.3), in seconds. A client
 * cannot extend it. Section 2 asks servers to ignore a preference that they do not understand.
 */
export function withPreference(policy: Policy, prefer: string | string[] | undefined): Policy {
  if (prefer === undefined) return policy;
  try {
    const wait = parseDictionary(String(prefer).toLowerCase()).get('wait')?.[0];
    if (typeof wait !== 'number' || wait < 0) return policy;
    return { ...policy, waitTimeoutMs: Math.min(policy.waitTimeoutMs, wait * 1_000) };
  } catch {
    return policy;
  }
}
