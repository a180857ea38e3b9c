import { digestIdentity } from '../engine/identity.js';
import type { Invocation, Options } from './command.js';
import { usageError } from './exit-codes.js';

/** Options that name one record by what the client sent, instead of by its id. */
export const WHICH_RECORD: Options = {
  key: { type: 'string', value: '<key>', description: 'the idempotency key, instead of a record id' },
  endpoint: {
    type: 'string',
    value: '<endpoint>',
    description: "with --key: 'POST /payments/:id', or the operation's name",
  },
  scope: {
    type: 'string',
    value: '<scope>',
    description: "with --key: the user's id, or what the option `scope` returns",
  },
  host: {
    type: 'string',
    value: '<host>',
    description: 'with --key: host of the request, if its controller names one',
  },
  namespace: {
    type: 'string',
    value: '<name>',
    description: "with --key: the application's `namespace`, if it has one",
  },
};

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function recordIdOf({ operands, text }: Invocation): string {
  const [key, endpoint, scope, host, namespace] = ['key', 'endpoint', 'scope', 'host', 'namespace'].map(text);
  if (operands.length > 0) {
    if (key ?? endpoint ?? scope ?? host ?? namespace)
      throw usageError('Give a record id, or --key with --endpoint, not both');
    const id = operands[0].toLowerCase();
    if (ID.test(id)) return id;
    throw usageError(
      'A record id looks like 0f8fad5b-d9cb-469f-a165-70867728950e; for a key, use --key',
      "the same command with --key <key> --endpoint 'POST /payments'",
    );
  }
  if (key === undefined || endpoint === undefined) {
    throw usageError(
      'Give a record id, or --key with --endpoint (and --scope, --host and --namespace)',
      'npx nestjs-idempotency list, which prints record ids',
    );
  }
  if (namespace === '') throw usageError('--namespace must be a name that is not empty');
  return digestIdentity({ namespace, host, scope: scope ?? '', endpoint, key }).recordId;
}
