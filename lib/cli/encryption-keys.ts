import type { IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import type { EncryptionOptions } from '../store/sealer.js';
import { resolveModuleOptions } from '../options/resolve-options.js';
import { type CliError, refusal, usageError } from './exit-codes.js';

export const KEYS_VARIABLE = 'IDEMPOTENCY_KEYS';
const CURRENT_VARIABLE = 'IDEMPOTENCY_CURRENT_KEY';

/**
 * Reads the application's `encryption` from the environment: `IDEMPOTENCY_KEYS` is a JSON object of base64 by key id, and
 * `IDEMPOTENCY_CURRENT_KEY` the id of the key that seals new values. With several keys, only `'write'` needs it.
 *
 * @throws CliError naming the variable, without its content, which is secret
 */
export function encryptionFrom(env: NodeJS.ProcessEnv, use: 'read' | 'write'): EncryptionOptions | undefined {
  const text = env[KEYS_VARIABLE];
  if (!text) return undefined;
  const keys = Object.fromEntries(entriesOf(text).map(([id, base64]) => [id, Buffer.from(base64, 'base64')]));
  const ids = Object.keys(keys);
  const current = env[CURRENT_VARIABLE] ?? ids[0];
  if (use === 'write' && ids.length > 1 && env[CURRENT_VARIABLE] === undefined) {
    throw usageError(`${KEYS_VARIABLE} has several keys: name the current one in ${CURRENT_VARIABLE}`);
  }
  try {
    return resolveModuleOptions({ encryption: { keys, current } }).encryption;
  } catch (error) {
    throw usageError(`${KEYS_VARIABLE}: ${(error as Error).message}`);
  }
}

function entriesOf(text: string): [string, string][] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  const entries = parsed && typeof parsed === 'object' && !Array.isArray(parsed) ? Object.entries(parsed) : [];
  if (entries.length === 0 || entries.some(([, value]) => typeof value !== 'string')) {
    throw usageError(`${KEYS_VARIABLE} must be a JSON object of keys in base64 by their ids`);
  }
  return entries as [string, string][];
}

/** The version that a sealed value begins with. A plain one begins as JSON does, never with a control character. */
const SEALED = 1;

/**
 * Returns whether the content of a record is sealed; `undefined` if it has none. Does not look at bodies, which can begin with
 * any byte: a body never comes without a head.
 */
export function isSealed(
  record: Pick<IdempotencyRecord, 'request' | 'responseHead'>,
  steps: readonly Pick<IdempotencyStep, 'result'>[] = [],
): boolean | undefined {
  const content = [record.responseHead, record.request, ...steps.map((step) => step.result)].find(Boolean);
  return content ? content[0] === SEALED : undefined;
}

/** @throws CliError if one of the records is sealed */
export function assertNoneSealed(records: readonly IdempotencyRecord[]): void {
  if (records.some((record) => isSealed(record) === true)) throw keysMissing();
}

export function keysMissing(): CliError {
  return refusal(`The records are encrypted: give the keys in ${KEYS_VARIABLE} (and ${CURRENT_VARIABLE})`);
}
