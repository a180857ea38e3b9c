import { HttpException, Logger } from '@nestjs/common';
import type { IdempotencyEngine } from '../../engine/engine.js';
import type { Operation } from '../../engine/operation.js';
import { isOutage, problemOfError } from '../../problems/from-engine.js';

const logger = new Logger('Idempotency');

/**
 * Returns the problem for an operation that the engine could not admit. Logs the reason, unless it is an outage, which is an event.
 *
 * An HTTP error of the edge itself is returned unchanged: the rest of a body did not arrive.
 */
export function admissionError(
  engine: IdempotencyEngine,
  operation: Operation,
  error: unknown,
  documentation: string | undefined,
): Error {
  if (error instanceof HttpException) return error;
  if (!isOutage(error)) logger.error(`${operation.endpoint}: ${engine.store.explain(error)}`, stackOf(error as Error));
  return problemOfError(error, documentation);
}

function stackOf({ cause, stack }: Error): string | undefined {
  return cause instanceof Error ? cause.stack : stack;
}
