/** What all edges decide alike when a run is over. */
import { HttpException, Logger } from '@nestjs/common';
import { TransactionEndedError } from '../engine/errors.js';
import type { StoredOutcome } from '../engine/outcome.js';
import type { RecordStore } from '../engine/ports/record-store.js';
import type { Finish } from '../engine/tenure.js';
import type { OutcomeContext } from '../options/idempotency-options.js';
import type { ResolvedOperationOptions } from '../options/resolved-options.js';
import { insteadOf } from '../problems/from-engine.js';

/** What the store knows of its own errors, and of those that handlers get from the same database. */
export type StoreErrors = Pick<RecordStore, 'isRetryable' | 'explain'>;

export interface RunSettings {
  /** What the logs call the operation, such as `POST /payments/:id`. */
  readonly endpoint: string;
  readonly options: ResolvedOperationOptions;
  readonly documentation: string | undefined;
  readonly errors: StoreErrors;
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
 * Returns what a run answers with instead of its own outcome, and logs why: what is on record, a problem, or the error for
 * which the database refused its transaction. `undefined`: it may answer with its own.
 *
 * @param error what the handler threw
 */
export function answerInstead(
  finish: Finish,
  error: unknown,
  { endpoint, documentation, errors, options }: Pick<RunSettings, 'endpoint' | 'documentation' | 'errors' | 'options'>,
): StoredOutcome | Error | undefined {
  const isRetryable = (one: unknown) => errors.isRetryable(one);
  // The database broke off the handler's transaction: what the handler made of that is no answer.
  const brokenOff = finish.kind === 'freed' && options.policy.transactional && isRetryable(error);
  const end: Finish = brokenOff ? { kind: 'rolledBack', error } : finish;
  const instead = insteadOf(end, isRetryable, documentation);
  if (end.kind === 'stored' && end.despite !== undefined) {
    logger.error(
      `${endpoint}: committed, and recorded, though something failed after it: ${errors.explain(end.despite)}`,
    );
  }
  if (!(instead instanceof Error)) return instead;
  const cause = 'error' in end ? end.error : error;
  if (cause === undefined) logger.warn(`${endpoint}: ${instead.message}`);
  else if (instead instanceof HttpException) logger.warn(`${endpoint}: ${instead.message} ${errors.explain(cause)}`);
  else if (cause instanceof TransactionEndedError) logger.error(`${endpoint}: the record is held. ${cause.message}`);
  else logger.error(`${endpoint}: the transaction was rolled back, and the key is free: ${errors.explain(cause)}`);
  return instead;
}
