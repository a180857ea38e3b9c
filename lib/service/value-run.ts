import { CurrentExecution, runWithin } from '../engine/current-execution.js';
import type { Execution } from '../engine/execution.js';
import type { HandlerResult, LeasedExecution } from '../engine/leased-execution.js';
import { Logger } from '@nestjs/common';
import { type StoredOutcome, TOMBSTONE } from '../engine/outcome.js';
import { errorOfHandler } from '../problems/from-engine.js';
import { outcomeToKeep } from '../edges/content/response-to-keep.js';
import { answerInstead, type RunSettings, verdictOf } from '../edges/shared/run-end.js';
import { statusOfError } from '../options/error-status.js';
import { type Answer, packAnswer, unpackValue } from '../edges/content/value-outcome.js';

/** Runs a handler that returns a value, and returns the recorded value in the end. */
export async function runForValue<T>(
  leased: LeasedExecution,
  settings: Pick<RunSettings, 'endpoint' | 'options' | 'errors' | 'documentation'>,
  handler: (execution: Execution) => Promise<T> | T,
): Promise<T> {
  const current = CurrentExecution.of(leased.execution);
  let answer: Answer | undefined;

  const recorded = await leased.runToEnd(async (): Promise<HandlerResult> => {
    answer = await runWithin(current, () => attempt(() => current.call(() => handler(leased.execution))));
    const { thrown } = answer;
    const result = {
      status: thrown ? statusOfError(thrown.error) : 200,
      error: thrown?.error,
      handlerFailed: thrown !== undefined,
    };
    if (verdictOf(settings, result, current) === 'release') return { kind: 'release' };
    return { kind: 'store', outcome: packed(answer, settings), failed: thrown !== undefined };
  });

  const instead = answerInstead(recorded, answer?.thrown?.error, settings);
  if (instead instanceof Error) throw instead;
  if (instead) return (await unpackValue(instead)) as T;
  if (answer!.thrown) throw answer!.thrown.error;
  return answer!.values[0] as T;
}

const logger = new Logger('Idempotency');

/** Packs the answer, or a tombstone where that fails: the handler has run, and a freed key would run it again. */
function packed(answer: Answer, { endpoint, options }: Pick<RunSettings, 'endpoint' | 'options'>): StoredOutcome {
  try {
    return outcomeToKeep(packAnswer(answer, options.response.maxBytes), options.response);
  } catch (error) {
    logger.error(`${endpoint}: the answer cannot be kept`, (error as Error).stack);
    return TOMBSTONE;
  }
}

async function attempt(work: () => unknown): Promise<Answer> {
  try {
    return { values: [await work()] };
  } catch (error) {
    return { values: [], thrown: { error: errorOfHandler(error) } };
  }
}
