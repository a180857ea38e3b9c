import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { runOf } from '../edges/http/request-run.js';
import { current } from '../engine/current-execution.js';
import type { Execution } from '../engine/execution.js';

/** The text of the idempotency key; `undefined` where the request has none and needs none. */
export const IdempotencyKey = createParamDecorator((_, context: ExecutionContext) => executionIn(context)?.key);

/** The running `Execution`; `undefined` where the request has no key and needs none. */
export const IdempotentExecution = createParamDecorator((_, context: ExecutionContext) => executionIn(context));

function executionIn(context: ExecutionContext): Execution | undefined {
  const run = context.getType() === 'http' ? runOf(context) : undefined;
  return (run?.current ?? current())?.execution;
}
