import { CurrentExecution, runWithin } from '../engine/current-execution.js';
import type { Execution } from '../engine/execution.js';
import type { HandlerResult, LeasedExecution } from '../engine/leased-execution.js';
import { errorOfHandler } from '../problems/from-engine.js';
import { answerInstead, type RunSettings } from '../edges/shared/run-end.js';
import { type Answer, unpackValue } from '../edges/content/value-outcome.js';
import { resultOf } from '../edges/values/value-result.js';

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
    return resultOf(answer, settings, current);
  });

  const instead = answerInstead(recorded, answer?.thrown?.error, settings);
  if (instead instanceof Error) throw instead;
  if (instead) return (await unpackValue(instead)) as T;
  if (answer!.thrown) throw answer!.thrown.error;
  return answer!.values[0] as T;
}

async function attempt(work: () => unknown): Promise<Answer> {
  try {
    return { values: [await work()] };
  } catch (error) {
    return { values: [], thrown: { error: errorOfHandler(error) } };
  }
}
