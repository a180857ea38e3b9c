import { IdempotencyRecord } from './idempotency-record.entity.js';
import { IdempotencyStep } from './idempotency-step.entity.js';

export { IdempotencyRecord, IdempotencyStep };

/** Entities to register where `autoLoadEntities` is not used. */
export const IDEMPOTENCY_ENTITIES = [IdempotencyRecord, IdempotencyStep] as const;
