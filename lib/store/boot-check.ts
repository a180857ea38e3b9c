import { randomUUID } from 'node:crypto';
import type { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { Claim } from '../engine/ports/record-store.js';
import { assertEntities, isInitialized } from './data-source.js';
import { withDeadline } from './deadline.js';
import { type DialectName, dialectNameOf } from './dialects/dialect-name.js';
import { explainStore } from './missing-tables.js';
import { unsupported, versionQuery } from './server-version.js';
import type { SqlRecordStore } from './sql-record-store.js';
import { unsafeStorage } from './table-storage.js';

/**
 * Finds problems at boot that would otherwise be a 503 to the first client. A claim, a step and their deletion on the real
 * tables reveal missing tables, columns and rights, and a database that takes no writes. They are rolled back, so that a
 * process that is killed meanwhile leaves nothing.
 *
 * A refusal of the database is logged, and does not fail the boot. The database may be down for a moment, or a process that
 * only reads may be connected to a replica.
 *
 * @throws Error where no statement can ever work
 */
export async function checkAtBoot(
  dataSource: DataSource,
  store: Pick<SqlRecordStore, 'rehearse'>,
  { logger, timeoutMs }: { logger: Logger; timeoutMs: number },
): Promise<void> {
  if (!isInitialized(dataSource)) {
    logger.warn('The data source is not initialized: requests get 503 until its initialize() has been called');
    return;
  }
  assertEntities(dataSource);
  let attempt = 'ask for the version';
  const log = (error: unknown) => logger.error(`The boot check could not ${attempt}: ${explainStore(error)}`);
  const server = await withDeadline(askServer(dataSource), timeoutMs).catch(log);
  if (!server) return;
  if (server.unusable) throw new Error(`IdempotencyModule: the data source ${server.unusable}`);
  const problem = unsupported(dialectNameOf(dataSource), server.version);
  if (problem) return logger.error(problem);
  if (server.unsafe) logger.error(server.unsafe);
  if (dialectNameOf(dataSource) === 'mysql' && losesPrimary(dataSource)) logger.warn(PRIMARY_IS_LOST);
  await store.rehearse(aClaim(), (next) => (attempt = next)).catch(log);
}

const PRIMARY_IS_LOST =
  'The data source has `replication` without `restoreNodeTimeout`: mysql2 gives a server up for good after five errors of its connections, the ' +
  'primary too. Transactional operations then get 503 until the process restarts. Set `restoreNodeTimeout: 1000` beside `master` and `slaves`';

function losesPrimary({ options }: DataSource): boolean {
  const { replication } = options as { replication?: { restoreNodeTimeout?: number } };
  return replication !== undefined && !replication.restoreNodeTimeout;
}

interface Server {
  readonly version: string;
  /** What is wrong with the driver or its options, if no statement can ever work. */
  readonly unusable: string | undefined;
  /** A message, if a table cannot keep what it is given. */
  readonly unsafe: string | undefined;
}

async function askServer(dataSource: DataSource): Promise<Server> {
  const dialect = dialectNameOf(dataSource);
  const runner = dataSource.createQueryRunner('master');
  try {
    const unusable = unusableDriver(dialect, (await runner.connect()) as DriverConnection);
    const [{ version }] = (await runner.query(versionQuery(dialect))) as { version: string }[];
    const query = (sql: string, parameters: unknown[]) => runner.query(sql, parameters) as Promise<unknown>;
    // What may not be asked there is no reason to log an error.
    const unsafe = await unsafeStorage(dataSource, dialect, query).catch(() => undefined);
    return { version, unusable, unsafe };
  } finally {
    await runner.release();
  }
}

/** The connections of `mysql` and `mysql2`, and of `pg`. */
interface DriverConnection {
  readonly execute?: unknown;
  readonly binary?: boolean;
  readonly release?: unknown;
}

function unusableDriver(dialect: DialectName, { execute, binary, release }: DriverConnection): string | undefined {
  // TypeORM 0.3 prefers the package `mysql` where both are installed, and any version takes it as the option `driver`.
  if (dialect === 'mysql' && typeof execute !== 'function') {
    return (
      'uses the package `mysql`, which cannot prepare statements. Install `mysql2`, ' +
      'and remove `mysql`, or `driver` from the options of TypeOrmModule.forRoot()'
    );
  }
  // PGlite: requests would write in the transactions of each other.
  if (dialect === 'postgres' && typeof release !== 'function') {
    return (
      'has a `driver` other than `pg`, whose connections are one session: a rollback would undo the records of other requests. Give tests ' +
      'SQLite in memory, or a PostgreSQL server'
    );
  }
  // A statement cannot switch it off, and completions then look lost.
  if (dialect === 'postgres' && binary) {
    return 'sets `binary` of `pg`, which the store cannot read. Remove it from `extra` in the options of TypeOrmModule.forRoot()';
  }
  return undefined;
}

function aClaim(): Claim {
  return {
    recordId: randomUUID(),
    owner: randomUUID(),
    endpoint: 'nestjs-idempotency: boot check',
    route: null,
    scopeDigest: null,
    // Bytes that a driver may change.
    fingerprint: Buffer.from('00ff5c80'.repeat(8), 'hex'),
    binding: null,
    request: null,
    leaseMs: 1_000,
    retentionMs: 1_000,
    maxAttempts: 1,
    holdOnCrash: false,
    asyncCommit: true,
  };
}
