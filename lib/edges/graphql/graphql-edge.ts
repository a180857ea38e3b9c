import { hasGuards } from '../../handlers/nest-decorators.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { Principal } from '../caller/principal.js';
import { readKeyHeader } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import type { PipelineCall, ValueEdge } from '../values/value-edge.js';
import { Batches } from './batches.js';
import { type GraphQLRequest, mutationFieldOf } from './field.js';
import { describedArguments } from './uploads.js';

/** Makes GraphQL mutations idempotent. Each root field of a mutation is an operation. */
export class GraphQLEdge {
  private readonly batches = new Batches();

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
    const before = options.key === undefined ? this.batches.before(field) : 0;
    const named = isAliased ? `${endpoint} as ${responseName}` : endpoint;
    this.edge.handle(call, {
      options,
      endpoint: before > 0 ? `${named} after ${before}` : named,
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
