/** The decisions at the end of a run that are the same for all edges. */
import { inspect } from 'node:util';
import { HttpException, Logger } from '@nestjs/common';
import type { CurrentExecution } from '../../engine/current-execution.js';
import { TransactionEndedError } from '../../engine/errors.js';
import { hasMethod } from '../../engine/observables.js';
import { FAILED_TOMBSTONE, isTombstone, type StoredOutcome, TOMBSTONE } from '../../engine/outcome.js';
import { MAX_RETENTION_MS } from '../../engine/policy.js';
import type { RecordStore } from '../../engine/ports/record-store.js';
import type { HandlerResult, RecordingResult } from '../../engine/recorder.js';
import type { ValueClasses } from '../../engine/value-json.js';
import { duration } from '../../options/checks.js';
import { OUTCOME_PRESETS } from '../../options/outcome-presets.js';
import type { OutcomeContext, OutcomeVerdict } from '../../options/idempotency-options.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { insteadOf } from '../../problems/from-engine.js';

/** Classifies errors of the database, of the store's own statements and of handlers. */
export type StoreErrors = Pick<RecordStore, 'isRetryable' | 'explain'>;

export interface RunSettings {
  /** The operation in logs, such as `POST /payments/:id`. */
  readonly endpoint: string;
  readonly options: ResolvedOperationOptions;
  readonly documentation: string | undefined;
  readonly errors: StoreErrors;
  readonly handler: object;
  /** Whether `@Idempotent()` watches the calls of the handler. Without it, a run only sees its pipeline end. */
  readonly watched: boolean;
  /** Classes whose instances are restored from stored values. */
  readonly classes?: ValueClasses | undefined;
  /** Whether an error that the handler returns fails it like one that it throws. */
  readonly failsByValue?: boolean | undefined;
}

/** The operation succeeded, and a retry gets `replay-unavailable`. */
export const STORE_WITHOUT_RESPONSE: HandlerResult = {
  kind: 'store',
  outcome: TOMBSTONE,
  failed: false,
  tombstone: TOMBSTONE,
};

const logger = new Logger('Idempotency');

const retentionOf = duration(0, MAX_RETENTION_MS);

/**
 * Asks the option `outcome`, and sets the retention that it returns. Returns the result of an operation whose response is not stored, and
 * `undefined` if it is.
 *
 * A failure after the handler's success, such as a value that cannot be serialized, never releases the key: every retry would run the
 * operation again.
 */
export function unstoredResult(
  { endpoint, options }: Pick<RunSettings, 'endpoint' | 'options'>,
  result: OutcomeContext,
  { calls, execution }: CurrentExecution,
): HandlerResult | undefined {
  const isCarriedOut = calls.state === 'succeeded' && !result.handlerFailed;
  let verdict: OutcomeVerdict | undefined;
  try {
    verdict = checkedVerdict(options.outcome(result));
    if (typeof verdict === 'object' && verdict.retention !== undefined) {
      execution.setRetention(retentionOf(verdict.retention, 'outcome'));
    }
  } catch (error) {
    // An invalid retention does not change the verdict.
    verdict ??= OUTCOME_PRESETS.final(result);
    logger.error(`${endpoint}: the option \`outcome\` failed`, (error as Error)?.stack);
  }
  if (verdict === 'store' || (typeof verdict === 'object' && verdict.store)) return undefined;
  return isCarriedOut && result.status >= 400 ? STORE_WITHOUT_RESPONSE : { kind: 'release' };
}

/**
 * Returns the result for an outcome that is to be stored. A handler that failed, and whose response is not kept, gets a tombstone of its
 * own: its retry must not get that the operation was carried out. It does not run again either, as the handler may have had an
 * effect before it failed: a charge that has to be confirmed answers 402.
 */
export function storedResult(outcome: StoredOutcome, failed: boolean, handlerFailed: boolean): HandlerResult {
  const tombstone = handlerFailed ? FAILED_TOMBSTONE : TOMBSTONE;
  return { kind: 'store', outcome: isTombstone(outcome) ? tombstone : outcome, failed, tombstone };
}

/**
 * Checks what the option `outcome` returns, because types do not stop a promise or `any`. If a promise counted as `'release'`, a
 * retry would run the operation again, and a transaction would roll back behind a success.
 */
function checkedVerdict(verdict: unknown): OutcomeVerdict {
  if (verdict === 'store' || verdict === 'release') return verdict;
  if (typeof (verdict as { store?: unknown } | null | undefined)?.store === 'boolean') return verdict as OutcomeVerdict;
  // An unhandled rejection would end the process.
  if (verdict instanceof Promise) verdict.catch(() => undefined);
  const what = verdict instanceof Promise ? 'a promise' : inspect(verdict, { depth: 0 });
  throw new TypeError(`\`outcome\` has to return 'store', 'release' or { store: boolean }, and returned ${what}`);
}

/** Returns whether a value is a stream, what Nest 12 iterates over as one, or Nest's `StreamableFile`. */
export function isStream(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return hasMethod(value, 'pipe') || hasMethod(value, 'getStream') || Symbol.asyncIterator in value;
}

/**
 * Returns whether a handler's value is work that an interceptor does afterwards, as with ts-rest and oRPC. A failure of that
 * interceptor is then the handler's. Such a value contains functions, which no response can; those of streams and of values with
 * `toJSON()` do not count.
 */
export function isWorkToBeDone(value: unknown): boolean {
  try {
    return holdsFunctions(value, 2);
  } catch {
    // A getter of the value throws.
    return false;
  }
}

function holdsFunctions(value: unknown, depth: number): boolean {
  if (typeof value === 'function') return true;
  if (typeof value !== 'object' || value === null || depth === 0 || 'toJSON' in value || isStream(value)) return false;
  return Object.values(value).some((member) => holdsFunctions(member, depth - 1));
}

/**
 * Returns what a run sends instead of its own outcome, and logs the reason: the outcome on record, a problem, or the error for which
 * the database refused the transaction. Returns `undefined` if the run may send its own.
 *
 * @param error what the handler threw
 */
export function answerInstead(
  recorded: RecordingResult,
  error: unknown,
  { endpoint, documentation, errors, options }: Pick<RunSettings, 'endpoint' | 'documentation' | 'errors' | 'options'>,
  recordId: string,
): StoredOutcome | Error | undefined {
  if (recorded.kind === 'stored') {
    if (recorded.despite !== undefined) {
      const reason = errors.explain(recorded.despite);
      logger.error(`${endpoint}: committed, and recorded, though something failed after it: ${reason}`);
    }
    return undefined;
  }
  const isRetryable = (one: unknown) => errors.isRetryable(one);
  // The database ended the handler's transaction, for a deadlock for example. The response that the handler made of it is no outcome.
  const isRolledBack = recorded.kind === 'freed' && options.policy.transactional && isRetryable(error);
  const end: RecordingResult = isRolledBack ? { ...recorded, kind: 'rolledBack', error } : recorded;
  const instead = insteadOf(end, isRetryable, documentation);
  if (instead instanceof Error) {
    const isTaken = 'isTaken' in end && end.isTaken === true;
    logInstead({ endpoint, recordId, isTaken }, instead, 'error' in end ? end.error : error, errors);
  }
  return instead;
}

function logInstead(
  { endpoint, recordId, isTaken }: Readonly<{ endpoint: string; recordId: string; isTaken: boolean }>,
  instead: Error,
  cause: unknown,
  errors: StoreErrors,
): void {
  // With the record: what may have happened without an outcome has to be found out, operation by operation.
  const problem = `${endpoint}: ${instead.message} Record ${recordId}`;
  if (cause === undefined) logger.warn(problem);
  else if (instead instanceof HttpException) logger.warn(`${problem}: ${errors.explain(cause)}`);
  else if (cause instanceof TransactionEndedError) logger.error(`${endpoint}: the record is held. ${cause.message}`);
  else if (isTaken) logger.error(`${endpoint}: the transaction was rolled back: ${errors.explain(cause)}`);
  else logger.error(`${endpoint}: the transaction was rolled back, and the key is free: ${errors.explain(cause)}`);
}
