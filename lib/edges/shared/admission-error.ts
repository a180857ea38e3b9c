import { HttpException, Logger } from '@nestjs/common';
import type { IdempotencyEngine } from '../../engine/engine.js';
import type { Operation } from '../../engine/operation.js';
import { isReported, problemOfError } from '../../problems/from-engine.js';

const logger = new Logger('Idempotency');

/**
 * Returns the problem for an operation that the engine could not admit. Logs the reason, unless it is an event: one cause, such as a
 * missing table, refuses thousands of requests.
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
  if (!isReported(error)) {
    const { cause, stack } = error as Error;
    const origin = cause instanceof Error ? cause.stack : stack;
    logger.error(`${operation.endpoint}: ${engine.store.explain(error)}`, origin);
  }
  return problemOfError(error, documentation);
}
