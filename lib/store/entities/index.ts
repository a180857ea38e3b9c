import { IdempotencyRecord } from './idempotency-record.entity.js';
import { IdempotencyStep } from './idempotency-step.entity.js';

export { IdempotencyRecord, IdempotencyStep };

/** The entities of the library, for `entities` of a data source without `autoLoadEntities`. */
export const IDEMPOTENCY_ENTITIES = [IdempotencyRecord, IdempotencyStep] as const;
