import type { CallHandler, ExecutionContext } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { isMarkedItself } from '../decorators/metadata.js';
import type { GraphQLEdge } from './graphql/graphql-edge.js';
import type { HttpEdge } from './http/http-edge.js';
import type { RpcEdge } from './rpc/rpc-edge.js';

/** Chooses the edge by the kind of request. */
export class IdempotencyEdges {
  constructor(
    private readonly http: HttpEdge,
    private readonly rpc: RpcEdge,
    private readonly graphql: GraphQLEdge,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    switch (context.getType<string>()) {
      case 'http':
        return this.http.intercept(context, next);
      case 'rpc':
        return this.rpc.intercept(context, next);
      case 'graphql':
        return this.graphql.intercept(context, next);
      default:
        // On a controller, it covers the methods that change something over HTTP.
        if (!isMarkedItself(context.getHandler())) return next.handle();
        throw new Error(`@Idempotent() does not cover "${context.getType<string>()}" handlers`);
    }
  }
}
