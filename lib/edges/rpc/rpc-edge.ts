import { Logger } from '@nestjs/common';
import { isMarkedItself } from '../../handlers/marking.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import type { PipelineCall, ValueEdge } from '../values/value-edge.js';
import { messageOf, subjectParameters } from './message.js';
import { readMessageKey } from './message-key.js';

/** Transports do not authenticate the sender of a message, so all senders share their keys. */
const NO_PRINCIPAL = { scope: '' };

/** Makes `@MessagePattern()` and `@EventPattern()` handlers idempotent, on every transport of Nest. */
export class RpcEdge {
  private static readonly logger = new Logger('Idempotency');

  constructor(
    private readonly edge: ValueEdge,
    private readonly operations: OperationOptions,
  ) {}

  handle(call: PipelineCall): void {
    const { context, next, subscriber } = call;
    const handler = context.getHandler();
    // On a controller, `@Idempotent()` covers mutating HTTP methods. A message does not say whether it mutates.
    const options = isMarkedItself(handler) ? this.operations.of(context.getClass(), handler) : undefined;
    if (!options) return void next.handle().subscribe(subscriber);
    const message = messageOf(context);
    const { endpoint: route, subject, payload, headers } = message;
    const { module } = this.edge;
    const request = {
      options,
      endpoint: options.operation ?? route,
      route,
      policy: options.policy,
      head: { subject },
      parameters: () => subjectParameters(handler, subject),
      keyExpected: (header: string) =>
        `This message needs the ${header} header, the id and source of a CloudEvent, or an AMQP message id.`,
      readKey: () => readMessageKey(message, module),
      header: (name: string) => headers(name).join(', ') || undefined,
      input: () => payload,
      principal: () => NO_PRINCIPAL,
    };
    this.edge.handle(call, request, (error) => {
      // Most transports drop what an event handler throws, so the log is the only trace of the refusal.
      if (message.isEvent && error instanceof IdempotencyProblem) RpcEdge.logger.warn(`${route}: ${error.message}`);
    });
  }
}
