import { HttpException, Logger } from '@nestjs/common';
import type { Admission } from '../../engine/admission.js';
import type { IdempotencyEngine } from '../../engine/engine.js';
import type { Operation } from '../../engine/operation.js';
import { isOutage, problemOfError } from '../../problems/from-engine.js';

const logger = new Logger('Idempotency');

/**
 * Asks the engine for an operation, and answers its errors as problems.
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
    throw admissionError(engine, operation, error, documentation);
  }
}

/** Returns what a request is answered with whose operation the engine could not admit, and logs why. */
export function admissionError(
  engine: IdempotencyEngine,
  operation: Operation,
  error: unknown,
  documentation: string | undefined,
): Error {
  // What the edge itself threw, as the rest of a request did not arrive.
  if (error instanceof HttpException) return error;
  if (!isOutage(error)) logger.error(`${operation.endpoint}: ${engine.store.explain(error)}`, causeOf(error));
  return problemOfError(error, documentation);
}

function causeOf(error: unknown): string | undefined {
  const { cause, stack } = error as Error;
  return cause instanceof Error ? cause.stack : stack;
}
