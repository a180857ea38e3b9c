import { CurrentExecution, runWithin } from '../engine/current-execution.js';
import type { Execution } from '../engine/execution.js';
import type { Ending, Tenure } from '../engine/tenure.js';
import type { ResolvedOperationOptions } from '../options/resolved-options.js';
import { insteadOf } from '../problems/from-engine.js';
import { IdempotencyProblem } from '../problems/problem.js';
import { packError, packValue, statusOf, unpackValue } from './value-outcome.js';

/** Runs a handler that answers with a value, and returns what is on record in the end. */
export async function runForValue<T>(
  tenure: Tenure,
  options: ResolvedOperationOptions,
  handler: (execution: Execution) => Promise<T> | T,
): Promise<T> {
  const current = new CurrentExecution(tenure.execution);
  let answer: { readonly value: T } | { readonly error: unknown } | undefined;

  const finish = await tenure.carryOut(async (): Promise<Ending> => {
    answer = await runWithin(current, () => current.watch(() => attempt(() => handler(tenure.execution))));
    const failed = 'error' in answer;
    const error = failed ? (answer as { error: unknown }).error : undefined;
    if (options.outcome({ status: failed ? statusOf(error) : 200, error }) === 'release') return { kind: 'release' };
    const { maxBytes } = options.response;
    const outcome = 'error' in answer ? packError(error, maxBytes) : packValue(answer.value, maxBytes);
    return { kind: 'store', outcome, failed };
  });

  const instead = insteadOf(finish);
  if (instead instanceof IdempotencyProblem) throw instead;
  if (instead) return unpackValue(instead) as T;
  if ('error' in answer!) throw answer.error;
  return answer!.value;
}

async function attempt<T>(work: () => Promise<T> | T): Promise<{ readonly value: T } | { readonly error: unknown }> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error };
  }
}
