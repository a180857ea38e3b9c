import { createParamDecorator } from '@nestjs/common';
import { current } from '../engine/current-execution.js';

/** The text of the idempotency key; `undefined` where the request has none and needs none. */
export const IdempotencyKey = createParamDecorator(() => current()?.execution.key);

/** The running `Execution`; `undefined` where the request has no key and needs none. */
export const IdempotentExecution = createParamDecorator(() => current()?.execution);
