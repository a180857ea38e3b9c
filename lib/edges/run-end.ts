/** What all edges decide alike when a run is over. */
import { Logger } from '@nestjs/common';
import type { StoredOutcome } from '../engine/outcome.js';
import type { Finish } from '../engine/tenure.js';
import type { OutcomeContext } from '../options/idempotency-options.js';
import type { ResolvedOperationOptions } from '../options/resolved-options.js';
import { insteadOf } from '../problems/from-engine.js';
import { IdempotencyProblem } from '../problems/problem.js';

export interface RunSettings {
  /** What the logs call the operation, such as `POST /payments/:id`. */
  readonly endpoint: string;
  readonly options: ResolvedOperationOptions;
  readonly documentation: string | undefined;
  readonly isRetryable: (error: unknown) => boolean;
  /** Whether the handler itself is watched, as `@Idempotent()` sees to; else only the pipeline's view of it is known. */
  readonly watched: boolean;
}

const logger = new Logger('Idempotency');

/** Asks the option `outcome` whether the key is to be free again. */
export function isToBeReleased(
  { endpoint, options }: Pick<RunSettings, 'endpoint' | 'options'>,
  result: OutcomeContext,
): boolean {
  try {
    return options.outcome(result) === 'release';
  } catch (error) {
    // The operation was carried out: to keep what came of it is the safe choice.
    logger.error(`${endpoint}: the option \`outcome\` threw`, (error as Error)?.stack);
    return false;
  }
}

/**
 * What a run answers with instead of its own outcome: what is on record, or a problem, which is logged. `undefined`: it
 * may answer with its own.
 *
 * @param error what the handler threw
 */
export function answerInstead(
  finish: Finish,
  error: unknown,
  { endpoint, documentation, isRetryable, options }: RunSettings,
): StoredOutcome | IdempotencyProblem | undefined {
  // The database broke off the handler's transaction: what the handler made of that is no answer.
  const brokenOff = finish.kind === 'freed' && options.policy.transactional && isRetryable(error);
  const instead = insteadOf(brokenOff ? { kind: 'rolledBack', error } : finish, documentation);
  if (instead instanceof IdempotencyProblem) logger.warn(`${endpoint}: ${instead.message}`, causeOf(instead));
  return instead;
}

function causeOf({ cause }: IdempotencyProblem): string | undefined {
  const root = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  return root instanceof Error ? root.stack : undefined;
}
