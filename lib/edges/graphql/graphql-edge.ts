import type { ExecutionContext } from '@nestjs/common';
import { hasGuards } from '../../handlers/nest-decorators.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { CallerRequest, Principal } from '../caller/principal.js';
import { readKeyHeader } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import type { PipelineCall, ValueEdge } from '../values/value-edge.js';
import { describedArguments } from './uploads.js';

/** The members of graphql's GraphQLResolveInfo that are read. */
interface ResolveInfo {
  readonly fieldName: string;
  readonly path: { readonly prev: unknown; readonly key: string | number };
  readonly operation: { readonly operation: string };
}

/** An Express or a Fastify request. */
interface GraphQLRequest extends CallerRequest {
  readonly rawHeaders?: readonly string[];
  readonly raw?: { readonly rawHeaders?: readonly string[] };
}

/** Makes GraphQL mutations idempotent. Each root field of a mutation is an operation. */
export class GraphQLEdge {
  constructor(
    private readonly edge: ValueEdge,
    private readonly operations: OperationOptions,
  ) {}

  handle(call: PipelineCall): void {
    const { context, next, subscriber } = call;
    const field = mutationFieldOf(context);
    const options = field && this.operations.of(context.getClass(), context.getHandler());
    if (!options) return void next.handle().subscribe(subscriber);
    const { name, responseName, args, request } = field;
    const { module } = this.edge;
    const { fingerprint } = options;
    const route = `MUTATION ${name}`;
    const endpoint = options.operation ?? route;
    // The header's key is for the whole request, which may contain a mutation twice, under two aliases. The option `key` returns a key
    // for this field alone.
    const isAliased = options.key === undefined && responseName !== name;
    this.edge.handle(call, {
      options,
      endpoint: isAliased ? `${endpoint} as ${responseName}` : endpoint,
      route,
      policy: withPreference(options.policy, request?.headers.prefer),
      head: { mutation: name },
      parameters: () => [],
      keyExpected: (header) => `This mutation requires the ${header} header.`,
      readKey: () =>
        readKeyHeader(
          request?.headers ?? {},
          request?.rawHeaders ?? request?.raw?.rawHeaders,
          module.header,
          module.keyFormat,
        ),
      header: (header) => request?.headers[header]?.toString(),
      input: () => describedArguments(args, typeof fingerprint === 'object' ? fingerprint : undefined, endpoint),
      principal: () => this.principalIn(call, request, endpoint),
    });
  }

  /** @throws Error without a request, because all callers would share their keys */
  private principalIn({ context }: PipelineCall, request: GraphQLRequest | undefined, endpoint: string): Principal {
    if (!request) {
      throw new Error(
        `${endpoint}: idempotency cannot tell callers apart: the GraphQL context has no request as \`req\`. Set the option \`scope\``,
      );
    }
    return this.edge.callers.of(request, { endpoint, hasGuards: hasGuards(context.getClass(), context.getHandler()) });
  }
}

/** Returns a root field of a mutation; `undefined` for a query, a subscription, or a field below the root. */
function mutationFieldOf(context: ExecutionContext) {
  const [, args, graphql, info] = context.getArgs<[unknown, unknown, Record<string, unknown>?, ResolveInfo?]>();
  if (info?.operation?.operation !== 'mutation' || info.path.prev !== undefined) return undefined;
  // The HTTP request, if the GraphQL context has it.
  const request = (graphql?.req ?? graphql?.request) as GraphQLRequest | undefined;
  // An alias of the client replaces the name in the response.
  const responseName = String(info.path.key);
  return { name: info.fieldName, responseName, args, request: request?.headers ? request : undefined };
}
