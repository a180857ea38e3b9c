import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { Observable } from 'rxjs';
import { isMarkedItself } from '../handlers/marking.js';
import { graphqlRequest } from './graphql/graphql-request.js';
import type { HttpEdge } from './http/http-edge.js';
import { rpcRequest } from './rpc/rpc-request.js';
import type { ValueEdge } from './values/value-edge.js';

/** Chooses the edge for a request by its kind. */
export class IdempotencyEdges {
  constructor(
    private readonly http: HttpEdge,
    private readonly values: ValueEdge,
  ) {}

  /** @throws Error for a marked handler of another kind, such as a WebSocket gateway's, which would run unprotected */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    switch (context.getType<string>()) {
      case 'http':
        return new Observable((subscriber) => this.http.handle(context, next, subscriber));
      case 'rpc':
        return new Observable((subscriber) => this.values.handle({ context, next, subscriber }, rpcRequest));
      case 'graphql':
        return new Observable((subscriber) => this.values.handle({ context, next, subscriber }, graphqlRequest));
      default:
        // On a controller, `@Idempotent()` covers mutating HTTP methods only.
        if (!isMarkedItself(context.getHandler())) return next.handle();
        throw new Error(`@Idempotent() does not cover "${context.getType<string>()}" handlers`);
    }
  }
}
