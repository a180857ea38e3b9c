import { parseDictionary } from 'structured-headers';

/**
 * The seconds of `Prefer: wait=N` (RFC 7240, section 4.3), in milliseconds: how long the client is ready to wait.
 * `undefined` where it does not say, or not in a way that can be understood, which RFC 7240 asks servers to ignore.
 */
export function preferredWait(prefer: string | string[] | undefined): number | undefined {
  if (prefer === undefined) return undefined;
  try {
    const wait = parseDictionary(String(prefer).toLowerCase()).get('wait')?.[0];
    return typeof wait === 'number' && wait >= 0 ? wait * 1_000 : undefined;
  } catch {
    return undefined;
  }
}
