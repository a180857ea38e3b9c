import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import type { DataSourceOptions } from 'typeorm';
import { databaseEnvironment, readEnvironment } from './environment.js';
import { CreatePayments1796900000000 } from './migrations/1796900000000-create-payments.js';

const { DATABASE_URL, DATABASE_POOL } = readEnvironment(databaseEnvironment, process.env);

/** For the application and for the command line. Neither synchronizes: migrations run before a version is deployed. */
export const databaseOptions = {
  type: 'postgres',
  url: DATABASE_URL,
  poolSize: DATABASE_POOL,
  applicationName: 'payments',
  // A database that hangs costs a request this long, and no more.
  connectTimeoutMS: 5_000,
  extra: { statement_timeout: 15_000, idle_in_transaction_session_timeout: 60_000 },
  migrations: [...IDEMPOTENCY_MIGRATIONS, CreatePayments1796900000000],
  migrationsTransactionMode: 'each',
} satisfies DataSourceOptions;
