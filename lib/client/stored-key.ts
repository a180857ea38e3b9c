import { newKey } from './new-key.js';

/** Where keys are kept: `sessionStorage`, `localStorage`, or anything of that shape, asynchronous or not. */
export interface KeyStorage {
  getItem(name: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(name: string, value: string): unknown;
  removeItem(name: string): unknown;
}

/** Look-ups under way: two calls for one operation, such as a double click makes, must not find two keys. */
const lookUps = new WeakMap<KeyStorage, Map<string, Promise<string>>>();

/**
 * Forgets the key of an operation, so that the next request for it is a new one. For an operation whose answer was not
 * definitive, once somebody has found out what came of it.
 */
export async function forgetKey(storage: KeyStorage, operation: string): Promise<void> {
  await storage.removeItem(nameOf(operation));
}

/** The operation's key: the one that is kept, or a new one, which is kept before anything is sent with it. */
export function storedKey(storage: KeyStorage, operation: string): Promise<string> {
  const name = nameOf(operation);
  const running = lookUps.get(storage) ?? new Map<string, Promise<string>>();
  lookUps.set(storage, running);
  const joined = running.get(name);
  if (joined) return joined;
  const lookUp = findOrMake(storage, name).finally(() => running.delete(name));
  running.set(name, lookUp);
  return lookUp;
}

/** Forgets a key that was answered, unless another has taken its place. Never rejects: the answer is there. */
export async function dropKey(storage: KeyStorage, operation: string, key: string): Promise<void> {
  const name = nameOf(operation);
  try {
    if ((await storage.getItem(name)) === key) await storage.removeItem(name);
  } catch {
    // The next request for this operation is answered with this outcome again.
  }
}

async function findOrMake(storage: KeyStorage, name: string): Promise<string> {
  const kept = await storage.getItem(name);
  if (kept) return kept;
  const key = newKey();
  await storage.setItem(name, key);
  return key;
}

function nameOf(operation: string): string {
  return `idempotency-key:${operation}`;
}
