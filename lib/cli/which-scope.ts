import type { IdempotencyService } from '../service/idempotency.service.js';
import type { Invocation, Options } from './command.js';
import { assertNoneSealed, encryptionFrom } from './encryption-keys.js';
import { usageError } from './exit-codes.js';

/** Options of commands that deal with all records of a scope. */
export const OF_SCOPE: Options = {
  scope: {
    type: 'string',
    value: '<scope>',
    description: "only of this caller: the user's id, or what the option `scope` returns",
  },
  namespace: {
    type: 'string',
    value: '<name>',
    description: "with --scope: the application's `namespace`, if it has one",
  },
};

/** @throws CliError for a scope or a namespace that is empty, or a namespace alone */
export function scopeOf({ text }: Invocation): string | undefined {
  const [scope, namespace] = [text('scope'), text('namespace')];
  if (scope === '') throw usageError('--scope must not be empty: records without a scope belong to no caller');
  if (namespace !== undefined && scope === undefined) throw usageError('--namespace goes with --scope');
  if (namespace === '') throw usageError('--namespace must be a name that is not empty');
  return scope;
}

/**
 * The service that finds what the application has recorded of a scope, by its namespace and its keys.
 *
 * @throws CliError where the records are encrypted and there are no keys: nothing would be found, and a person's records would
 *   be taken for erased
 */
export async function serviceOfScope(invocation: Invocation): Promise<IdempotencyService> {
  const encryption = encryptionFrom(invocation.env, 'read');
  const service = await invocation.service({ encryption, namespace: invocation.text('namespace') });
  if (!encryption) assertNoneSealed(await service.list({ limit: 100 }));
  return service;
}
