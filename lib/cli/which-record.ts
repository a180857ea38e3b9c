import { digestIdentity } from '../engine/identity.js';
import { parseRecordId } from '../service/filters.js';
import type { Invocation, Options } from './command.js';
import { type CliError, refusal, usageError } from './exit-codes.js';

/** Options that name one record by what the client sent, instead of by its id. */
export const WHICH_RECORD: Options = {
  'key <key>': 'the idempotency key, instead of a record id',
  'endpoint <endpoint>': "with --key: 'POST /payments/:id', or the operation's name",
  'scope <scope>': "with --key: the user's id, or what the option `scope` returns",
  'host <host>': 'with --key: host of the request, if its controller names one',
  'namespace <name>': "with --key: the application's `namespace`, if it has one",
};

export function recordIdOf({ operand, text }: Invocation): string {
  const named = ['key', 'endpoint', 'scope', 'host', 'namespace'].map(text);
  if (operand !== undefined) {
    if (named.some((one) => one !== undefined))
      throw usageError('Give a record id, or --key with --endpoint, not both');
    const id = parseRecordId(operand);
    if (id !== undefined) return id;
    throw usageError(
      'A record id looks like 0f8fad5b-d9cb-469f-a165-70867728950e; for a key, use --key',
      "the same command with --key <key> --endpoint 'POST /payments'",
    );
  }
  const [key, endpoint, scope, host, namespace] = named;
  if (key === undefined || endpoint === undefined) {
    throw usageError(
      'Give a record id, or --key with --endpoint (and --scope, --host and --namespace)',
      'npx nestjs-idempotency list, which prints record ids',
    );
  }
  if (namespace === '') throw usageError('--namespace must be a name that is not empty');
  return digestIdentity({ namespace, host, scope: scope ?? '', endpoint, key }).recordId;
}

/** Keys are not stored: the digest of a wrong endpoint or scope names another record, and its id would say nothing. */
export function noSuchRecord(id: string, { operand }: Invocation): CliError {
  if (operand !== undefined) return refusal(`There is no record ${id}`);
  return refusal(
    `There is no record of this key (its id would be ${id}): --endpoint, --scope, --host and --namespace have to be those of its request`,
  );
}
