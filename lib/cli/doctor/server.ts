import type { Logger } from '@nestjs/common';
import type { DataSource, EntityMetadata, Table } from 'typeorm';
import { checkAtBoot } from '../../store/boot-check.js';
import { MYSQL_NOW } from '../../store/dialects/clock.js';
import { type DialectName, dialectNameOf } from '../../store/dialects/dialect-name.js';
import { lacksRight } from '../../store/driver-errors.js';
import { IDEMPOTENCY_ENTITIES } from '../../store/entities/index.js';
import { saysMissingTables } from '../../store/missing-tables.js';
import { versionQuery } from '../../store/server-version.js';
import { executedMigrations, MIGRATIONS } from '../database/executed-migrations.js';
import { failure, type Finding, type Findings, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** An application with `synchronize` would not expect the tables that a migration has made. */
const howToMakeTables = ({ application }: Subject) =>
  application.changesSchema
    ? 'Start the application once: it makes the tables, which the doctor does not. Then run the doctor again'
    : 'Run the migrations: npx nestjs-idempotency migrations run (`migrations print` shows the SQL). Where the tables are under ' +
      'another name, give --schema or --entity-prefix';

/** Runs the boot check of the application: the server's version, a claim, a step and their deletion, which it rolls back. */
export async function* rehearsal(subject: Subject): Findings {
  const { dataSource, store, timeoutMs } = subject;
  const logged: Finding[] = [];
  let cause: unknown;
  const rehearsing: Pick<typeof store, 'rehearse'> = {
    rehearse: (claim, reached) =>
      store.rehearse(claim, reached).catch((error: unknown) => {
        cause = error;
        throw error;
      }),
  };
  const logger = {
    warn: (message: string) => logged.push(warning('database.writes', message)),
    error: (message: string) => logged.push(failure('database.writes', message, remedyFor(cause, subject))),
  } as unknown as Logger;
  try {
    await checkAtBoot(dataSource, rehearsing, { logger, timeoutMs });
  } catch (error) {
    yield failure('database.writes', (error as Error).message);
    return;
  }
  yield* logged;
  if (logged.length === 0)
    yield ok('database.writes', 'A record can be claimed, and a step recorded: tables and rights suffice');
}

export async function* version({ dataSource }: Subject): Findings {
  const dialect = dialectNameOf(dataSource);
  const [row] = await dataSource.query<{ version: string }[]>(versionQuery(dialect));
  const name = dialect === 'sqlite' ? 'SQLite ' : dialect === 'mysql' && !/MariaDB/.test(row.version) ? 'MySQL ' : '';
  yield ok('database.version', `${name}${row.version}`.split(' on ')[0]);
}

function remedyFor(cause: unknown, subject: Subject): string {
  if (saysMissingTables(cause)) return howToMakeTables(subject);
  if (!lacksRight(cause)) return 'Requests get 503 for the same reason: see docs/troubleshooting.md#log-lines';
  const { dataSource } = subject;
  const tables = IDEMPOTENCY_ENTITIES.map((entity) => dataSource.getMetadata(entity).tablePath);
  const rights = 'GRANT SELECT, INSERT, UPDATE, DELETE ON';
  const user = "the application's user";
  return dialectNameOf(dataSource) === 'postgres'
    ? `${rights} ${tables.join(', ')} TO <${user}>; and GRANT USAGE ON their schema`
    : tables.map((table) => `${rights} ${table} TO <${user}>;`).join(' ');
}

/** Checks for columns and indexes that the tables lack, and for migrations that have not run. */
export async function* tables(subject: Subject): Findings {
  const { dataSource } = subject;
  const executed = await executedMigrations(dataSource);
  const pending = MIGRATIONS.filter((name) => !executed.includes(name)).join(', ');
  const missing = await missingParts(dataSource);
  if (missing.columns.length > 0) {
    const behind = pending && `; migrations that have not run: ${pending}`;
    yield failure('tables.columns', `Missing: ${missing.columns.join(', ')}${behind}`, howToMakeTables(subject));
    return;
  }
  yield ok('tables.columns', 'All tables and columns of this version are there');
  if (missing.indexes.length > 0) {
    yield warning(
      'tables.indexes',
      `No index on ${missing.indexes.join(', ')}: sweeping, and erasing a person, read the whole table`,
      'Create it, without blocking writes where the database can; `migrations print` shows the SQL',
    );
  }
  if (executed.length === 0) {
    yield hint(
      'tables.migrations',
      'No migration of this library is on record: the tables were made by `synchronize` or by hand, or this user may not read ' +
        'the table of migrations',
      'Use the migrations in production. Where the table of migrations has another name, give --migrations-table',
    );
  } else if (pending)
    yield warning('tables.migrations', `Migrations that have not run: ${pending}`, howToMakeTables(subject));
  else yield ok('tables.migrations', `${executed.length} migrations have run, and none is missing`);
}

interface MissingParts {
  readonly columns: readonly string[];
  readonly indexes: readonly string[];
}

async function missingParts(dataSource: DataSource): Promise<MissingParts> {
  const missing: MissingParts[] = [];
  const runner = dataSource.createQueryRunner();
  try {
    for (const metadata of IDEMPOTENCY_ENTITIES.map((entity) => dataSource.getMetadata(entity))) {
      missing.push(missingIn(await runner.getTable(metadata.tablePath), metadata));
    }
  } finally {
    await runner.release();
  }
  return { columns: missing.flatMap(({ columns }) => columns), indexes: missing.flatMap(({ indexes }) => indexes) };
}

function missingIn(table: Table | undefined, { tablePath, columns, indices }: EntityMetadata): MissingParts {
  if (!table) return { columns: [`table ${tablePath}`], indexes: [] };
  const known = new Set(table.columns.map(({ name }) => name));
  const indexed = new Set(table.indices.map(({ columnNames: [first] }) => first));
  const firstColumns = indices.map(({ columns: [first] }) => first.databaseName);
  const named = (names: readonly string[]) => names.map((name) => `${tablePath}.${name}`);
  return {
    columns: named(columns.map(({ databaseName }) => databaseName).filter((name) => !known.has(name))),
    indexes: named(firstColumns.filter((name) => known.has(name) && !indexed.has(name))),
  };
}

/** The server's time, in milliseconds since 1970. SQLite has no server. */
const NOW: Record<Exclude<DialectName, 'sqlite'>, string> = {
  postgres: 'extract(epoch FROM clock_timestamp()) * 1000',
  mysql: MYSQL_NOW,
};

const NOTABLE_SKEW_MS = 1_000;
const LARGE_SKEW_MS = 60_000;

const CLOCK_OF_DATABASE =
  "Leases and expiry run on the database's clock alone and stay right; dates in logs, and those that your code takes from " +
  'both, do not compare';

export async function* clock({ dataSource }: Subject): Findings {
  const dialect = dialectNameOf(dataSource);
  if (dialect === 'sqlite') return;
  // The first query may wait for a connection, which would count as skew.
  await dataSource.query('SELECT 1');
  const startedAt = performance.now();
  const sentAt = Date.now();
  const [{ now }] = await dataSource.query<{ now: string }[]>(`SELECT ${NOW[dialect]} AS now`);
  yield skewFinding('clock', "the database's", CLOCK_OF_DATABASE, Number(now) - sentAt, performance.now() - startedAt);
}

/**
 * Compares another clock with the one of this machine.
 *
 * @param whose the other clock, such as `the database's`
 * @param effect what a difference means
 * @param aheadMs how far the other clock is ahead
 * @param withinMs how long the question took. The clock was read at some time in between, so this much is no skew
 */
export function skewFinding(check: string, whose: string, effect: string, aheadMs: number, withinMs: number): Finding {
  const skew = Math.max(-aheadMs, aheadMs - withinMs, 0);
  const seconds = `${(Math.abs(aheadMs) / 1_000).toFixed(1)} s`;
  if (skew < NOTABLE_SKEW_MS) return ok(check, `The clock here is ${whose}, to within a second`);
  const message = `The clock here is ${seconds} ${aheadMs > 0 ? 'behind' : 'ahead of'} ${whose}. ${effect}`;
  const make = skew < LARGE_SKEW_MS ? hint : warning;
  return make(check, message, 'Synchronize both by NTP (chrony, systemd-timesyncd)');
}
