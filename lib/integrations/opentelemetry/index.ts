export {
  IdempotencyOpenTelemetryModule,
  type IdempotencyOpenTelemetryOptions,
} from './idempotency-opentelemetry.module.js';
