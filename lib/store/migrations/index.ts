import { CreateIdempotencyTables1767225600000 } from './1767225600000-create-idempotency-tables.js';
import { KeepUnfinishedOperations1795824000000 } from './1795824000000-keep-unfinished-operations.js';
import { KeepRouteAndScope1796860800000 } from './1796860800000-keep-route-and-scope.js';

export { CreateIdempotencyTables1767225600000, KeepUnfinishedOperations1795824000000, KeepRouteAndScope1796860800000 };

/** Migrations to list where tables are not synchronized: `migrations: [...IDEMPOTENCY_MIGRATIONS, ...yours]`. */
export const IDEMPOTENCY_MIGRATIONS = [
  CreateIdempotencyTables1767225600000,
  KeepUnfinishedOperations1795824000000,
  KeepRouteAndScope1796860800000,
] as const;
