import { CurrentExecution, runWithin } from '../engine/current-execution.js';
import type { Execution } from '../engine/execution.js';
import type { Ending, Tenure } from '../engine/tenure.js';
import { insteadOf } from '../problems/from-engine.js';
import { IdempotencyProblem } from '../problems/problem.js';
import { isToBeReleased, type RunSettings } from './run-end.js';
import { statusOfError } from './value-error.js';
import { type Answer, packAnswer, unpackValue } from './value-outcome.js';

/** Runs a handler that answers with a value, and returns what is on record in the end. */
export async function runForValue<T>(
  tenure: Tenure,
  settings: Pick<RunSettings, 'endpoint' | 'options'>,
  handler: (execution: Execution) => Promise<T> | T,
): Promise<T> {
  const current = new CurrentExecution(tenure.execution);
  let answer: Answer | undefined;

  const finish = await tenure.carryOut(async (): Promise<Ending> => {
    answer = await runWithin(current, () => current.watch(() => attempt(() => handler(tenure.execution))));
    const { thrown } = answer;
    const status = thrown ? statusOfError(thrown.error) : 200;
    if (isToBeReleased(settings, { status, error: thrown?.error })) return { kind: 'release' };
    const outcome = packAnswer(answer, settings.options.response.maxBytes);
    return { kind: 'store', outcome, failed: thrown !== undefined };
  });

  const instead = insteadOf(finish);
  if (instead instanceof IdempotencyProblem) throw instead;
  if (instead) return (await unpackValue(instead)) as T;
  if (answer!.thrown) throw answer!.thrown.error;
  return answer!.values[0] as T;
}

async function attempt(work: () => unknown): Promise<Answer> {
  try {
    return { values: [await work()] };
  } catch (error) {
    return { values: [], thrown: { error } };
  }
}
