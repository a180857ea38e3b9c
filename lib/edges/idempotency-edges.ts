import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { Observable } from 'rxjs';
import { isMarkedItself } from '../handlers/marking.js';
import type { GraphQLEdge } from './graphql/graphql-edge.js';
import type { HttpEdge } from './http/http-edge.js';
import type { RpcEdge } from './rpc/rpc-edge.js';

/** Chooses the edge for a request by its kind. */
export class IdempotencyEdges {
  constructor(
    private readonly http: HttpEdge,
    private readonly rpc: RpcEdge,
    private readonly graphql: GraphQLEdge,
  ) {}

  /** @throws Error for a marked handler of another kind, such as a WebSocket gateway's, which would run unprotected */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    switch (context.getType<string>()) {
      case 'http':
        return new Observable((subscriber) => this.http.handle(context, next, subscriber));
      case 'rpc':
        return new Observable((subscriber) => this.rpc.handle({ context, next, subscriber }));
      case 'graphql':
        return new Observable((subscriber) => this.graphql.handle({ context, next, subscriber }));
      default:
        // On a controller, `@Idempotent()` covers mutating HTTP methods only.
        if (!isMarkedItself(context.getHandler())) return next.handle();
        throw new Error(`@Idempotent() does not cover "${context.getType<string>()}" handlers`);
    }
  }
}
