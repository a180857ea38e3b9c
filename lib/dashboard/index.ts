export { IdempotencyDashboardModule } from './dashboard.module.js';
export type { IdempotencyDashboardExtras, IdempotencyDashboardOptions } from './options.js';
