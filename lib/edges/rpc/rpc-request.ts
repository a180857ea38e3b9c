import { type ExecutionContext, Logger } from '@nestjs/common';
import { isMarkedItself } from '../../handlers/marking.js';
import { IdempotencyProblem } from '../../problems/problem.js';
import type { ValueEdge, ValueRequest } from '../values/value-edge.js';
import { messageOf, subjectParameters } from './message.js';
import { readMessageKey } from './message-key.js';

/** Transports do not authenticate the sender of a message, so all senders share their keys. */
const NO_PRINCIPAL = { scope: '' };

const logger = new Logger('Idempotency');

/** Returns the request to an idempotent `@MessagePattern()` or `@EventPattern()` handler, on any transport of Nest. */
export function rpcRequest(
  context: ExecutionContext,
  { module, operations, serializers }: ValueEdge,
): ValueRequest | undefined {
  const handler = context.getHandler();
  // On a controller, `@Idempotent()` covers mutating HTTP methods. A message does not say whether it mutates.
  const options = isMarkedItself(handler) ? operations.of(context.getClass(), handler) : undefined;
  if (!options) return undefined;
  const message = messageOf(context);
  const { endpoint: route, subject, payload, headers, isEvent } = message;
  return {
    options,
    endpoint: options.operation ?? route,
    route,
    policy: options.policy,
    head: { subject },
    parameters: () => subjectParameters(handler, subject),
    keyExpected: (header) =>
      `This message needs the ${header} header, the id and source of a CloudEvent, or an AMQP message id.`,
    readKey: () => readMessageKey(message, module),
    header: (name) => headers(name).join(', ') || undefined,
    input: () => payload,
    principal: () => NO_PRINCIPAL,
    isEvent,
    serialize: serializers.of(context),
    onRefused: (error) => {
      // Most transports drop what an event handler throws, so the log is the only trace of the refusal.
      if (isEvent && error instanceof IdempotencyProblem) logger.warn(`${route}: ${error.message}`);
    },
  };
}
