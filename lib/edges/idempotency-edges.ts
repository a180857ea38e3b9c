import type { CallHandler, ExecutionContext } from '@nestjs/common';
import { Observable } from 'rxjs';
import { isMarkedItself } from '../handlers/marking.js';
import type { HttpEdge } from './http/http-edge.js';
import { valueTransportOf } from './value-transports.js';
import type { ValueEdge } from './values/value-edge.js';

/** Chooses the edge for a request by its kind. */
export class IdempotencyEdges {
  constructor(
    private readonly http: HttpEdge,
    private readonly values: ValueEdge,
  ) {}

  /** @throws Error for a marked handler of another kind, such as a WebSocket gateway's, which would run unprotected */
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    if (context.getType() === 'http') {
      return new Observable((subscriber) => this.http.handle(context, next, subscriber));
    }
    const transport = valueTransportOf(context);
    if (transport) {
      return new Observable((subscriber) => this.values.handle({ context, next, subscriber }, transport.requestOf));
    }
    // On a controller, `@Idempotent()` covers mutating HTTP methods only.
    if (!isMarkedItself(context.getHandler())) return next.handle();
    const name = `${context.getClass().name}.${context.getHandler().name}`;
    throw new Error(
      `@Idempotent() on ${name} does not cover "${context.getType()}" calls: call IdempotencyService.run()`,
    );
  }
}
