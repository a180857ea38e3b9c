import { type CallHandler, type ExecutionContext, Logger } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { isMarkedItself } from '../../handlers/marking.js';
import type { OperationOptions } from '../../handlers/operation-options.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import type { ValueEdge } from '../values/value-edge.js';
import { type Message, messageOf, subjectParameters } from './message.js';
import { readMessageKey } from './message-key.js';

const NOBODY = { scope: '' };

/** `@MessagePattern()` and `@EventPattern()` handlers, on any of Nest's transports. */
export class RpcEdge {
  private static readonly logger = new Logger('Idempotency');

  constructor(
    private readonly edge: ValueEdge,
    private readonly operations: OperationOptions,
  ) {}

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    // On a controller, `@Idempotent()` covers what changes something over HTTP: a message does not say whether it does.
    if (!isMarkedItself(context.getHandler()) || this.edge.isRunning(context)) return next.handle();
    const options = this.operations.of(context.getClass(), context.getHandler());
    if (!options) return next.handle();
    const message = messageOf(context);
    try {
      return await this.handle(context, next, options, message);
    } catch (error) {
      // Most transports drop what an event's handler throws.
      if (message.isEvent && error instanceof IdempotencyProblem) {
        RpcEdge.logger.warn(`${message.endpoint}: ${error.message}`);
      }
      throw error;
    }
  }

  private async handle(
    context: ExecutionContext,
    next: CallHandler,
    options: ResolvedOperationOptions,
    message: Message,
  ): Promise<Observable<unknown>> {
    const { module } = this.edge;
    const expected = `This message needs the ${module.header} header, the id and source of a CloudEvent, or an AMQP message id.`;
    const key = this.edge.readKey(context, options, () => readMessageKey(message, module), expected);
    if (key === undefined) return next.handle();
    const { operation } = options;
    const { endpoint, subject } = message;
    const head = { subject };
    return this.edge.handle(context, next, options, key, {
      endpoint: operation ?? endpoint,
      route: operation === undefined ? null : endpoint,
      policy: options.policy,
      head,
      compared: operation === undefined ? head : subjectParameters(context.getHandler(), subject),
      header: (name) => message.headers(name).join(', ') || undefined,
      input: message.payload,
      principal: () => NOBODY,
    });
  }
}
