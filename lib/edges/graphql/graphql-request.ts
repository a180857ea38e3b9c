import type { ExecutionContext } from '@nestjs/common';
import { hasGuards } from '../../private-names/nest.js';
import { readKeyHeader } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import type { ValueEdge, ValueRequest } from '../values/value-edge.js';
import { sameFieldsBefore } from './batches.js';
import { mutationFieldOf } from './field.js';
import { settled } from './settled.js';
import { describedArguments } from './uploads.js';

/** Returns the request to an idempotent GraphQL mutation. Each root field of a mutation is an operation. */
export function graphqlRequest(context: ExecutionContext, edge: ValueEdge): ValueRequest | undefined {
  const { module, operations, callers } = edge;
  const [controller, handler] = [context.getClass(), context.getHandler()];
  const field = mutationFieldOf(context);
  const options = field && operations.of(controller, handler);
  if (!options) return undefined;
  const { name, responseName, args, request } = field;
  const { fingerprint } = options;
  const route = `MUTATION ${name}`;
  const endpoint = options.operation ?? route;
  // The header's key is for the whole request, which may contain a mutation twice, under two aliases. The option `key` returns a key
  // for this field alone.
  const isAliased = options.key === undefined && responseName !== name;
  const before = options.key === undefined ? sameFieldsBefore(field) : 0;
  const named = isAliased ? `${endpoint} as ${responseName}` : endpoint;
  return {
    options,
    endpoint,
    identity: before > 0 ? `${named} after ${before}` : named,
    route,
    policy: withPreference(options.policy, request?.headers.prefer),
    head: { mutation: name },
    parameters: () => [],
    keyExpected: (header) =>
      `This mutation requires the ${header} header${request ? '' : ', and the GraphQL context has no request as `req`'}.`,
    readKey: () => {
      const rawHeaders = request?.rawHeaders ?? request?.raw?.rawHeaders;
      return readKeyHeader(request?.headers ?? {}, rawHeaders, module);
    },
    header: (header) => request?.headers[header]?.toString(),
    serialize: settled,
    classes: edge.objectTypes,
    // GraphQL takes them for errors of the field.
    failsByValue: true,
    input: () => describedArguments(args(), typeof fingerprint === 'object' ? fingerprint : undefined, endpoint),
    principal: () => {
      if (request) return callers.of(request, { endpoint, hasGuards: hasGuards(controller, handler) });
      throw new Error(
        `${endpoint}: idempotency cannot tell callers apart: the GraphQL context has no request as \`req\`. Set the option \`scope\``,
      );
    },
  };
}
