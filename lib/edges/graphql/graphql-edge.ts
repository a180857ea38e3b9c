import { hasGuards } from '../../handlers/nest-decorators.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import type { AnonymousCallers } from '../caller/anonymous-callers.js';
import { type Principal, principalOf } from '../caller/principal.js';
import { type KeyReading, readKeyHeader } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import type { PipelineCall, ValueEdge } from '../values/value-edge.js';
import { type GraphQLRequest, mutationFieldOf } from './field.js';
import { describedArguments } from './uploads.js';

/** Makes GraphQL mutations idempotent. Each root field of a mutation is an operation. */
export class GraphQLEdge {
  constructor(
    private readonly edge: ValueEdge,
    private readonly operations: OperationOptions,
    private readonly anonymous: AnonymousCallers,
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
      keyExpected: `This mutation requires the ${module.header} header.`,
      readKey: () => keyOf(request, module),
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
    const principal = principalOf(request, this.edge.module.credentials, endpoint);
    const operation = { endpoint, hasGuards: hasGuards(context.getClass(), context.getHandler()) };
    this.anonymous.note(principal, request, operation);
    return principal;
  }
}

function keyOf(
  request: GraphQLRequest | undefined,
  { header, keyFormat }: Pick<ResolvedModuleOptions, 'header' | 'keyFormat'>,
): KeyReading {
  if (!request) return { kind: 'missing' };
  const { headers, rawHeaders = request.raw?.rawHeaders } = request;
  return readKeyHeader(headers, rawHeaders, header, keyFormat);
}
