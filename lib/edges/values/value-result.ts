import { Logger } from '@nestjs/common';
import type { CurrentExecution } from '../../engine/current-execution.js';
import type { HandlerResult } from '../../engine/recorder.js';
import { TOMBSTONE } from '../../engine/outcome.js';
import { statusOfError } from '../../options/error-status.js';
import { isFinalStatus } from '../../options/outcome-presets.js';
import { outcomeToKeep } from '../content/response-to-keep.js';
import { type Answer, packAnswer } from '../content/value-outcome.js';
import { isWorkToBeDone, type RunSettings, storedResult, unstoredResult } from '../shared/run-end.js';

const logger = new Logger('Idempotency');

/**
 * Returns the result to record for an answer, as the option `outcome` decides.
 *
 * A value that cannot be packed becomes a tombstone. An error would release the key, and a retry would run the operation again.
 */
export function resultOf(
  answer: Answer,
  settings: Pick<RunSettings, 'endpoint' | 'options' | 'classes' | 'failsByValue'>,
  current: CurrentExecution,
): HandlerResult {
  const last = settings.failsByValue && answer.values.at(-1);
  const thrown = answer.thrown ?? (last instanceof Error ? { error: last } : undefined);
  const { calls } = current;
  const isReturned = settings.failsByValue && calls.value instanceof Error;
  if (thrown && calls.state === 'not begun') {
    return { kind: 'discard', refused: isFinalStatus(statusOfError(thrown.error)) };
  }
  const handlerFailed =
    isReturned || calls.state === 'failed' || (thrown !== undefined && (calls.isUndone || isWorkToBeDone(calls.value)));
  const failed = thrown !== undefined || handlerFailed;
  try {
    const error = thrown ? thrown.error : calls.error;
    const status = thrown ? statusOfError(error) : 200;
    const unstored = unstoredResult(settings, { status, error, handlerFailed }, current);
    if (unstored) return unstored;
    const { response } = settings.options;
    const outcome = outcomeToKeep(packAnswer(answer, response.maxBytes, settings.classes), response);
    return storedResult(outcome, failed, handlerFailed);
  } catch (error) {
    return unkeptResult(settings, error, failed, handlerFailed);
  }
}

/** Returns the result to record where the answer cannot be kept, and logs `error`, for which it cannot. */
export function unkeptResult(
  { endpoint }: Pick<RunSettings, 'endpoint'>,
  error: unknown,
  failed = false,
  handlerFailed = false,
): HandlerResult {
  logger.error(`${endpoint}: the answer cannot be kept`, (error as Error | undefined)?.stack);
  return storedResult(TOMBSTONE, failed, handlerFailed);
}
