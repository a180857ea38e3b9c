import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { isObservable, Observable } from 'rxjs';
import { isMarkedItself } from '../handlers/marking.js';
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

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    switch (context.getType<string>()) {
      case 'http':
        return new Observable((subscriber) => this.http.handle(context, next, subscriber));
      case 'rpc':
        return followed(() => this.rpc.intercept(context, next));
      case 'graphql':
        return followed(() => this.graphql.intercept(context, next));
      default:
        // On a controller, it covers the methods that change something over HTTP.
        if (!isMarkedItself(context.getHandler())) return next.handle();
        throw new Error(`@Idempotent() does not cover "${context.getType<string>()}" handlers`);
    }
  }
}

/**
 * The stream that `intercept` promises. It is subscribed to in any case, by a closed subscriber where an interceptor outside
 * has given up meanwhile: a run that won its record by then must give it back, and would else not hear of that.
 */
function followed(intercept: () => Promise<Observable<unknown>> | Observable<unknown>): Observable<unknown> {
  return new Observable((subscriber) => {
    const stream = intercept();
    if (isObservable(stream)) {
      stream.subscribe(subscriber);
      return;
    }
    stream.then(
      (admitted) => admitted.subscribe(subscriber),
      (error: unknown) => subscriber.error(error),
    );
  });
}
