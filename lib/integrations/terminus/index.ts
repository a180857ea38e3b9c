export {
  IdempotencyHealthIndicator,
  type IdempotencyHealthOptions,
  type LockHealth,
  type StoreHealth,
} from './idempotency-health.indicator.js';
export type { StoreFailureReason } from './store-failure.js';
