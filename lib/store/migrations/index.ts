import { CreateIdempotencyTables1767225600000 } from './1767225600000-create-idempotency-tables.js';

export { CreateIdempotencyTables1767225600000 };

/** Migrations to list where tables are not synchronized: `migrations: [...IDEMPOTENCY_MIGRATIONS, ...yours]`. */
export const IDEMPOTENCY_MIGRATIONS = [CreateIdempotencyTables1767225600000] as const;
