import { parseDictionary } from 'structured-headers';
import type { Policy } from '../../engine/policy.js';

/**
 * The seconds of `Prefer: wait=N` (RFC 7240, section 4.3), in milliseconds: how long the client is ready to wait.
 * `undefined` where it does not say, or not in a way that can be understood, which RFC 7240 asks servers to ignore.
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

/** A client may wait for less than the operation allows, never for more. */
export function withPreference(policy: Policy, prefer: string | string[] | undefined): Policy {
  const waitMs = preferredWait(prefer);
  return waitMs === undefined ? policy : { ...policy, waitTimeoutMs: Math.min(policy.waitTimeoutMs, waitMs) };
}
