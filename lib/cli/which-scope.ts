import type { IdempotencyService } from '../service/idempotency.service.js';
import type { Invocation, Options } from './command.js';
import { assertNoneSealed, encryptionFrom } from './encryption-keys.js';
import { usageError } from './exit-codes.js';

/** Options of the commands that take all records of a scope. */
export const OF_SCOPE: Options = {
  'scope <scope>': "only of this caller: the user's id, or what the option `scope` returns",
  'namespace <name>': "with --scope: the application's `namespace`, if it has one",
};

/** @throws CliError for an empty scope or namespace, and for a namespace without a scope */
export function scopeOf({ text }: Invocation): string | undefined {
  const [scope, namespace] = [text('scope'), text('namespace')];
  if (scope === '') throw usageError('--scope must not be empty: records without a scope belong to no caller');
  if (namespace !== undefined && scope === undefined) throw usageError('--namespace goes with --scope');
  if (namespace === '') throw usageError('--namespace must be a name that is not empty');
  return scope;
}

/**
 * Returns a service that digests scopes as the application does, with its namespace and its keys.
 *
 * @throws CliError if records are encrypted and the keys are missing. The digest would match no record, and an operator would
 *   report a person's records as erased.
 */
export async function serviceOfScope(invocation: Invocation): Promise<IdempotencyService> {
  const encryption = encryptionFrom(invocation.env, 'read');
  const service = await invocation.service({ encryption, namespace: invocation.text('namespace') });
  if (!encryption) assertNoneSealed(await service.list({ limit: 100 }));
  return service;
}
