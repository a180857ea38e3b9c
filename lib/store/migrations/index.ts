import { CreateIdempotencyTables1767225600000 } from './1767225600000-create-idempotency-tables.js';
import { KeepUnfinishedOperations1795824000000 } from './1795824000000-keep-unfinished-operations.js';
import { KeepRouteAndScope1796860800000 } from './1796860800000-keep-route-and-scope.js';

export { CreateIdempotencyTables1767225600000, KeepUnfinishedOperations1795824000000, KeepRouteAndScope1796860800000 };

/**
 * The migrations of the library, for a data source without `synchronize`.
 *
 * @example
 * ```ts
 * TypeOrmModule.forRoot({ migrations: [...IDEMPOTENCY_MIGRATIONS, AddPayments1767225600000], migrationsRun: true })
 * ```
 */
export const IDEMPOTENCY_MIGRATIONS = [
  CreateIdempotencyTables1767225600000,
  KeepUnfinishedOperations1795824000000,
  KeepRouteAndScope1796860800000,
] as const;
