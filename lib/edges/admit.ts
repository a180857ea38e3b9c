import { HttpException, Logger } from '@nestjs/common';
import type { Admission } from '../engine/admission.js';
import type { IdempotencyEngine } from '../engine/engine.js';
import type { Operation } from '../engine/operation.js';
import { isOutage, problemOfError } from '../problems/from-engine.js';

const logger = new Logger('Idempotency');

/**
 * Asks the engine for an operation, and tells its errors as problems.
 *
 * @throws IdempotencyProblem
 */
export async function admit(
  engine: IdempotencyEngine,
  operation: Operation,
  documentation: string | undefined,
): Promise<Admission> {
  try {
    return await engine.admit(operation);
  } catch (error) {
    // What the edge itself threw, as the rest of a request did not arrive.
    if (error instanceof HttpException) throw error;
    if (!isOutage(error)) logger.error(`${operation.endpoint}: ${engine.explain(error)}`, causeOf(error));
    throw problemOfError(error, documentation);
  }
}

function causeOf(error: unknown): string | undefined {
  const { cause, stack } = error as Error;
  return cause instanceof Error ? cause.stack : stack;
}
