export { IdempotencyModule } from './module/idempotency.module.js';
export type { Execution } from './store/typeorm-execution.js';
export { Idempotent, NotIdempotent } from './decorators/idempotent.decorator.js';
export { IdempotencyKey, IdempotentExecution } from './decorators/parameters.js';
export { IdempotencyInterceptor } from './edges/idempotency.interceptor.js';
export { IdempotencyProblemFilter } from './edges/idempotency-problem.filter.js';
export {
  type ForgetOptions,
  IdempotencyService,
  type RecordIdentity,
  type ResolveOptions,
  type RunOptions,
} from './service/idempotency.service.js';
export type { Resolution } from './service/resolution.js';
export type { ListOptions } from './service/filters.js';
export type { RecordStats } from './service/record-view.js';
export type { IdempotencyPolicy, OperationPolicy } from './service/policy.js';
export type { IdempotencyEvent } from './engine/events.js';
export type { RecordStatus } from './engine/ports/record-store.js';
export {
  NestedOperationError,
  OuterTransactionError,
  TransactionControlError,
  TransactionEndedError,
  TransactionOverError,
  TransactionUndoneError,
} from './engine/errors.js';
export {
  LeaseLostError,
  StepInTransactionError,
  type StepOptions,
  StepResult,
  StepUnknownError,
} from './engine/steps.js';
export { MaxDurationError } from './engine/leased-execution.js';
export { IDEMPOTENCY_ENTITIES, IdempotencyRecord, IdempotencyStep } from './store/entities/index.js';
export type { EncryptionOptions } from './store/sealer.js';
export type { TransactionHost } from './store/transactions/transaction-host.js';
export type { RedisLike, RedisSubscriberLike } from './lock/redis-client.js';
export type { RedlockSettings } from './lock/redlock-settings.js';
export type { Duration } from './options/duration.js';
export { IdempotencyOptionError } from './options/option-error.js';
export type * from './options/idempotency-options.js';
export * from './problems/index.js';
