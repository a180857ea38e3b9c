export {
  IdempotencyHealthIndicator,
  type IdempotencyHealthOptions,
  type LockHealth,
  type StoreHealth,
} from './idempotency-health.indicator.js';
export type { StoreFailure, StoreFailureReason } from './store-failure.js';
