import type { CallHandler, ExecutionContext } from '@nestjs/common';
import type { Observable } from 'rxjs';
import type { OperationOptions } from '../../handlers/operation-options.js';
import { type KeyReading, readRequestKey } from '../shared/key-header.js';
import { withPreference } from '../shared/prefer-wait.js';
import { hasGuards } from '../../handlers/nest-decorators.js';
import type { AnonymousCallers } from '../caller/anonymous-callers.js';
import { type Principal, principalOf } from '../caller/principal.js';
import type { ValueEdge } from '../values/value-edge.js';
import { type GraphQLRequest, mutationFieldOf } from './field.js';
import { describedArguments } from './uploads.js';

/** GraphQL mutations: each field at the root of one is an operation of its own. */
export class GraphQLEdge {
  constructor(
    private readonly edge: ValueEdge,
    private readonly operations: OperationOptions,
    private readonly anonymous: AnonymousCallers,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const field = mutationFieldOf(context);
    const options = field && this.operations.of(context.getClass(), context.getHandler());
    if (!options || this.edge.isRunning(context)) return next.handle();
    const { module } = this.edge;
    const { name, responseName, args, request } = field;
    const expected = `This mutation requires the ${module.header} header.`;
    const fromHeader = (): KeyReading => {
      if (!request) return { kind: 'missing' };
      const { headers, rawHeaders = request.raw?.rawHeaders } = request;
      return readRequestKey({ headers, rawHeaders }, module.header, module.keyFormat);
    };
    const key = this.edge.readKey(context, options, fromHeader, expected);
    if (key === undefined) return next.handle();

    // A header is for the whole request, in which a mutation may stand twice. A key of its own is for this field alone.
    const isNamed = options.key === undefined && responseName !== name;
    const { operation, fingerprint } = options;
    const pointers = typeof fingerprint === 'object' ? fingerprint : undefined;
    const route = `MUTATION ${name}`;
    const endpoint = operation ?? route;
    const head = { mutation: name };
    return this.edge.handle(context, next, options, key, {
      endpoint: isNamed ? `${endpoint} as ${responseName}` : endpoint,
      route: operation === undefined ? null : route,
      policy: withPreference(options.policy, request?.headers.prefer),
      head,
      compared: operation === undefined ? head : [],
      header: (header) => request?.headers[header]?.toString(),
      input: await describedArguments(args, pointers, endpoint),
      principal: () => this.principalIn(context, request, endpoint),
    });
  }

  private principalIn(context: ExecutionContext, request: GraphQLRequest | undefined, endpoint: string): Principal {
    if (request) {
      const principal = principalOf(request, this.edge.module.credentials, endpoint);
      this.anonymous.note(principal, request, {
        endpoint,
        hasGuards: hasGuards(context.getClass(), context.getHandler()),
      });
      return principal;
    }
    throw new Error(
      `${endpoint}: idempotency cannot tell callers apart: the GraphQL context has no request as \`req\`. Set the option \`scope\``,
    );
  }
}
