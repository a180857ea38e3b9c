/** What all edges decide alike when a run is over. */
import { inspect } from 'node:util';
import { HttpException, Logger } from '@nestjs/common';
import type { CurrentExecution } from '../../engine/current-execution.js';
import { TransactionEndedError } from '../../engine/errors.js';
import { type StoredOutcome, TOMBSTONE } from '../../engine/outcome.js';
import { LONGEST_RETENTION_MS } from '../../engine/policy.js';
import type { RecordStore } from '../../engine/ports/record-store.js';
import type { HandlerResult, RecordingResult } from '../../engine/leased-execution.js';
import { duration } from '../../options/checks.js';
import { OUTCOME_PRESETS } from '../../options/outcome-presets.js';
import type { OutcomeContext, OutcomeVerdict } from '../../options/idempotency-options.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { insteadOf } from '../../problems/from-engine.js';

/** What the store knows of its own errors, and of those that handlers get from the same database. */
export type StoreErrors = Pick<RecordStore, 'isRetryable' | 'explain'>;

export interface RunSettings {
  /** What the logs call the operation, such as `POST /payments/:id`. */
  readonly endpoint: string;
  readonly options: ResolvedOperationOptions;
  readonly documentation: string | undefined;
  readonly errors: StoreErrors;
  /** The method that the request is for. */
  readonly handler: object;
  /** Whether its calls are watched, as `@Idempotent()` sees to; else only the pipeline's view of it is known. */
  readonly watched: boolean;
}

/** The operation was carried out, and nothing of its response is kept. */
export const STORE_WITHOUT_RESPONSE: HandlerResult = { kind: 'store', outcome: TOMBSTONE, failed: false };

const logger = new Logger('Idempotency');

/** What is made of a result. */
export type Verdict =
  | 'store'
  | 'release'
  /** The operation was carried out, and its response cannot be replayed. */
  | 'storeWithoutResponse';

/**
 * Asks the option `outcome` what is made of a result, and sets how long it is kept.
 *
 * A failure that came after the handler had succeeded, such as a value that cannot be serialized, does not free the key: each
 * retry would carry the operation out again.
 */
export function verdictOf(
  { endpoint, options }: Pick<RunSettings, 'endpoint' | 'options'>,
  result: OutcomeContext,
  { calls, execution }: CurrentExecution,
): Verdict {
  const isCarriedOut = calls.state === 'succeeded' && !result.handlerFailed;
  let verdict: OutcomeVerdict | undefined;
  try {
    verdict = checkedVerdict(options.outcome(result));
    if (typeof verdict === 'object' && verdict.retention !== undefined) {
      execution.setRetention(duration('outcome', verdict.retention, 0, LONGEST_RETENTION_MS));
    }
  } catch (error) {
    // A retention that cannot be used leaves the verdict as it is.
    verdict ??= OUTCOME_PRESETS.final(result);
    logger.error(`${endpoint}: the option \`outcome\` failed`, (error as Error)?.stack);
  }
  if (verdict === 'store' || (typeof verdict === 'object' && verdict.store)) return 'store';
  return isCarriedOut && result.status >= 400 ? 'storeWithoutResponse' : 'release';
}

/**
 * The types of an application do not hold where it returns a promise or `any`. To take that for `'release'` would run the operation
 * again, and roll a transaction back behind a success.
 */
function checkedVerdict(verdict: unknown): OutcomeVerdict {
  if (verdict === 'store' || verdict === 'release') return verdict;
  if (typeof (verdict as { store?: unknown } | null | undefined)?.store === 'boolean') return verdict as OutcomeVerdict;
  // There is no other listener, and an unhandled rejection would end the process.
  if (verdict instanceof Promise) verdict.catch(() => undefined);
  const what = verdict instanceof Promise ? 'a promise' : inspect(verdict, { depth: 0 });
  throw new TypeError(`\`outcome\` has to return 'store', 'release' or { store: boolean }, and returned ${what}`);
}

/** Whether a value is a stream, or Nest's `StreamableFile`. */
export function isStream(value: unknown): boolean {
  const { pipe, getStream } = (value ?? {}) as { pipe?: unknown; getStream?: unknown };
  return typeof pipe === 'function' || typeof getStream === 'function';
}

/**
 * Returns whether what the handler returned is work that an interceptor is still to do, as ts-rest and oRPC have it: then a
 * failure of that interceptor is the handler's. Such a value holds functions, which no response can; those of a stream, and of a
 * value that serializes itself, are its own.
 */
export function isWorkToBeDone(value: unknown, depth = 2): boolean {
  if (typeof value === 'function') return true;
  if (typeof value !== 'object' || value === null || depth === 0 || 'toJSON' in value || isStream(value)) return false;
  return Object.values(value).some((member) => isWorkToBeDone(member, depth - 1));
}

/**
 * Returns what a run answers with instead of its own outcome, and logs why: what is on record, a problem, or the error for
 * which the database refused its transaction. `undefined`: it may answer with its own.
 *
 * @param error what the handler threw
 */
export function answerInstead(
  recorded: RecordingResult,
  error: unknown,
  { endpoint, documentation, errors, options }: Pick<RunSettings, 'endpoint' | 'documentation' | 'errors' | 'options'>,
): StoredOutcome | Error | undefined {
  if (recorded.kind === 'stored' && recorded.despite === undefined) return undefined;
  const isRetryable = (one: unknown) => errors.isRetryable(one);
  // The database broke off the handler's transaction: what the handler made of that is no answer.
  const brokenOff = recorded.kind === 'freed' && options.policy.transactional && isRetryable(error);
  const end: RecordingResult = brokenOff ? { kind: 'rolledBack', error } : recorded;
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
