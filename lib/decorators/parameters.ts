import { createParamDecorator } from '@nestjs/common';
import { current } from '../engine/current-execution.js';

/**
 * The idempotency key of the request, or `undefined` where it has none and `required` is `false`.
 *
 * @example
 * pay(@IdempotencyKey() key: string) { ... }
 */
export const IdempotencyKey = createParamDecorator(() => current()?.execution.key);

/**
 * The running `Execution`, or `undefined` where the request has no key and `required` is `false`.
 *
 * @example
 * pay(@IdempotentExecution() execution: Execution) { ... }
 */
export const IdempotentExecution = createParamDecorator(() => current()?.execution);
