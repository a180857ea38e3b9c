import { IdempotencyRecord } from './idempotency-record.entity.js';
import { IdempotencyStep } from './idempotency-step.entity.js';

export { IdempotencyRecord, IdempotencyStep };

/**
 * The entities of the library, for a data source without `autoLoadEntities`.
 *
 * @example
 * ```ts
 * TypeOrmModule.forRoot({ entities: [...IDEMPOTENCY_ENTITIES, Payment] })
 * ```
 */
export const IDEMPOTENCY_ENTITIES = [IdempotencyRecord, IdempotencyStep] as const;
