import { newKey } from './new-key.js';

/** Stores keys: `sessionStorage`, `localStorage`, or anything of that shape, also asynchronous. */
export interface KeyStorage {
  getItem(name: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(name: string, value: string): unknown;
  removeItem(name: string): unknown;
}

export interface OperationKey {
  readonly key: string;
  /** Whether another call for this operation may have sent a request with it. */
  readonly isUsed: boolean;
}

/** Look-ups under way. Two calls for one operation, as by a double click, must not create two keys. */
const lookUps = new WeakMap<KeyStorage, Map<string, Promise<OperationKey>>>();

/**
 * Deletes the key of an operation, so that its next request is a new one. For an operation whose response was not definitive, once its
 * outcome has been found out.
 *
 * @example
 * await forgetKey(sessionStorage, `checkout:${cart.id}`);
 */
export async function forgetKey(storage: KeyStorage, operation: string): Promise<void> {
  await storage.removeItem(nameOf(operation));
}

/** Returns the operation's stored key, or a new one that is stored before any request has it. */
export async function storedKey(storage: KeyStorage, operation: string): Promise<OperationKey> {
  const name = nameOf(operation);
  const running = lookUps.get(storage) ?? new Map<string, Promise<OperationKey>>();
  lookUps.set(storage, running);
  const joined = running.get(name);
  if (joined) return { ...(await joined), isUsed: true };
  const lookUp = findOrMake(storage, name).finally(() => running.delete(name));
  running.set(name, lookUp);
  return lookUp;
}

/** Deletes a key after a definitive response, unless another one has replaced it. Never rejects, because the caller has its response. */
export async function dropKey(storage: KeyStorage, operation: string, key: string): Promise<void> {
  const name = nameOf(operation);
  try {
    if ((await storage.getItem(name)) === key) await storage.removeItem(name);
  } catch {
    // The next request for this operation gets this outcome again.
  }
}

async function findOrMake(storage: KeyStorage, name: string): Promise<OperationKey> {
  const kept = await storage.getItem(name);
  if (kept) return { key: kept, isUsed: true };
  const key = newKey();
  await storage.setItem(name, key);
  return { key, isUsed: false };
}

function nameOf(operation: string): string {
  return `idempotency-key:${operation}`;
}
