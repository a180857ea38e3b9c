import { digestIdentity } from '../engine/identity.js';
import type { Invocation, Options } from './command.js';
import { usageError } from './exit-codes.js';

/** Options of commands that deal with one record: by its id, or by what the client sent. */
export const WHICH_RECORD: Options = {
  key: { type: 'string', value: '<key>', description: 'the idempotency key, in place of a record id' },
  endpoint: {
    type: 'string',
    value: '<endpoint>',
    description: "with --key: 'POST /payments/:id', or the name of the operation",
  },
  scope: { type: 'string', value: '<scope>', description: "with --key: the user's id, or what `scope` answered" },
  host: {
    type: 'string',
    value: '<host>',
    description: 'with --key: of the request, if its controller names a `host`',
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
    throw usageError('A record id looks like 0f8fad5b-d9cb-469f-a165-70867728950e; for a key, use --key');
  }
  if (key === undefined || endpoint === undefined) {
    throw usageError('Give a record id, or --key with --endpoint (and --scope, --host and --namespace)');
  }
  if (namespace === '') throw usageError('--namespace must be a name that is not empty');
  return digestIdentity({ namespace, host, scope: scope ?? '', endpoint, key }).recordId;
}
