import { IdempotencyRecord } from '../../store/entities/index.js';
import { quotedTable } from '../../store/table-path.js';
import { bytes } from '../output/format.js';
import { connections } from './connections.js';
import { type Finding, type Findings, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** The migration sets it: docs/operations.md#vacuum. */
const RECOMMENDED_FILLFACTOR = 35;
/** Above this, at least every second update touches the indexes. */
const HIGH_FILLFACTOR = 50;
/** By default, autovacuum waits until a fifth of the rows are dead. With more rows than these, that is late, and then takes long. */
const LARGE_ROWS = 1_000_000;
const LARGE_SCALE_FACTOR = 0.1;
/** The next vacuum removes fewer dead rows than these: they are no sign that it does not keep up. */
const MANY_DEAD_ROWS = 10_000;
/** A table is bloated if it is this many times as large as its rows, and at least this large. */
const BLOATED_RATIO = 4;
const BLOATED_BYTES = 100 * 1_024 ** 2;
const LONG_TRANSACTION_S = 3_600;

export async function* postgresSettings({ dataSource }: Subject): Findings {
  const durable = ['fsync', 'full_page_writes', 'synchronous_commit'];
  const rows = await dataSource.query<{ name: string; value: string }[]>(
    'SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1)',
    [[...durable, 'autovacuum', 'default_transaction_isolation', 'synchronous_standby_names']],
  );
  const settings = new Map(rows.map(({ name, value }) => [name, value]));
  const off = durable.filter((name) => settings.get(name) === 'off');
  if (off.length > 0) {
    yield warning(
      'postgres.durability',
      `${off.join(', ')} = off: a crash of the server loses keys that were acknowledged, and their retries run again`,
      'Turn them on, at least where effects leave this database',
    );
  } else yield ok('postgres.durability', 'A committed record survives a crash of the server');
  if (settings.get('autovacuum') === 'off') {
    yield warning('postgres.autovacuum', 'autovacuum = off: the table of records grows without end', 'Turn it on');
  }
  const isolation = settings.get('default_transaction_isolation')!;
  if (isolation !== 'read committed') {
    yield hint(
      'postgres.isolation',
      `default_transaction_isolation = ${isolation}: safe, but raced claims conflict, and are asked for again`,
      'Leave the default at read committed, and raise the level where a handler needs it',
    );
  }
  const [{ asynchronous }] = await dataSource.query<{ asynchronous: number }[]>(
    `SELECT count(*)::int AS asynchronous FROM pg_stat_replication WHERE application_name <> 'pg_basebackup'`,
  );
  if (asynchronous > 0 && settings.get('synchronous_standby_names') === '') {
    yield warning(
      'postgres.replication',
      'The standbys are asynchronous: a failover loses the last keys, and their retries run again',
      'Set synchronous_standby_names where effects leave this database (docs/operations.md#topologies)',
    );
  }
}

export async function* postgresConnections(subject: Subject): Findings {
  const [row] = await subject.dataSource.query<{ server: number; role: number; base: number }[]>(
    `SELECT (SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END)::int FROM pg_settings
             WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')) AS server,
            (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role,
            (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS base`,
  );
  const limits = [
    { allowed: row.server, by: 'max_connections, less those that are reserved' },
    { allowed: row.role, by: "the role's CONNECTION LIMIT" },
    { allowed: row.base, by: "the database's CONNECTION LIMIT" },
  ].filter(({ allowed }) => allowed >= 0);
  const tightest = limits.reduce((least, limit) => (limit.allowed < least.allowed ? limit : least));
  yield connections(subject, tightest.allowed, tightest.by);
}

interface TableFacts {
  readonly name: string;
  readonly options: readonly string[];
  readonly rows: number;
  readonly dead: number;
  readonly live: number;
  readonly size: string;
  readonly width: number | null;
}

/** Checks the table of records, or each of its partitions. */
export async function* postgresTable({ dataSource }: Subject): Findings {
  const facts = await dataSource.query<TableFacts[]>(
    `SELECT c.oid::regclass::text AS name, coalesce(c.reloptions, '{}') AS options, c.reltuples::float8 AS rows,
            coalesce(s.n_dead_tup, 0)::float8 AS dead, coalesce(s.n_live_tup, 0)::float8 AS live,
            pg_relation_size(c.oid) AS size,
            (SELECT sum(a.avg_width * (1 - a.null_frac)) FROM pg_stats a
             WHERE a.schemaname = s.schemaname AND a.tablename = s.relname) AS width
     FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
     WHERE c.relkind = 'r' AND (c.oid = $1::regclass OR c.oid IN (SELECT p.relid FROM pg_partition_tree($1::regclass) p))`,
    [quotedTable(dataSource, IdempotencyRecord)],
  );
  for (const table of facts) {
    yield* storageOf(table);
    yield* vacuumOf(table);
    yield* bloatOf(table);
  }
  const [{ longest }] = await dataSource.query<{ longest: number | null }[]>(
    `SELECT max(extract(epoch FROM now() - xact_start))::float8 AS longest FROM pg_stat_activity
     WHERE datname = current_database() AND xact_start IS NOT NULL AND backend_type = 'client backend'`,
  );
  if ((longest ?? 0) > LONG_TRANSACTION_S) {
    yield warning(
      'postgres.transactions',
      `A transaction has been open for ${Math.round(longest! / 60)} minutes: no vacuum removes rows that died since`,
      'Find it in pg_stat_activity by xact_start, and end it',
    );
  }
}

function optionOf({ options }: TableFacts, name: string): string | undefined {
  return options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
}

function* storageOf(table: TableFacts): Generator<Finding> {
  const fillfactor = Number(optionOf(table, 'fillfactor') ?? 100);
  if (fillfactor > HIGH_FILLFACTOR) {
    yield warning(
      'postgres.fillfactor',
      `${table.name} has fillfactor ${fillfactor}: most updates touch every index and write more WAL`,
      `ALTER TABLE ${table.name} SET (fillfactor = ${RECOMMENDED_FILLFACTOR}); it holds for pages written from then on`,
    );
  } else yield ok('postgres.fillfactor', `${table.name} has fillfactor ${fillfactor}`);
  if (!/^(off|false|no|0)$/.test(optionOf(table, 'vacuum_truncate') ?? '')) {
    yield warning(
      'postgres.vacuum_truncate',
      `${table.name} is cut down when it is emptied: plans made for an empty table then read all of it while it fills`,
      `ALTER TABLE ${table.name} SET (vacuum_truncate = off);`,
    );
  }
}

function* vacuumOf(table: TableFacts): Generator<Finding> {
  if (/^(off|false|no|0)$/.test(optionOf(table, 'autovacuum_enabled') ?? '')) {
    yield warning(
      'postgres.autovacuum',
      `Autovacuum is off for ${table.name}: the space of swept records is never used again`,
      `ALTER TABLE ${table.name} RESET (autovacuum_enabled);`,
    );
    return;
  }
  if (table.dead > MANY_DEAD_ROWS && table.dead > table.live) {
    yield warning(
      'postgres.vacuum',
      `${table.name} has ${table.dead} dead rows and ${table.live} live ones: vacuum does not keep up`,
      'Look for old transactions (pg_stat_activity by xact_start), and lower autovacuum_vacuum_scale_factor of the table',
    );
  }
  const scale = Number(optionOf(table, 'autovacuum_vacuum_scale_factor') ?? 0.2);
  if (table.rows > LARGE_ROWS && scale > LARGE_SCALE_FACTOR) {
    yield hint(
      'postgres.autovacuum',
      `${table.name} has about ${Math.round(table.rows)} rows, and is vacuumed when ${scale * 100} % of them are dead: late, and then long`,
      `ALTER TABLE ${table.name} SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);`,
    );
  }
}

/** Estimates bloat from the statistics of the last ANALYZE. */
function* bloatOf(table: TableFacts): Generator<Finding> {
  const size = Number(table.size);
  if (table.rows < 1 || table.width === null) return;
  const fillfactor = Number(optionOf(table, 'fillfactor') ?? 100) / 100;
  /** A row's header, its item pointer and padding. */
  const overhead = 40;
  const expected = (table.rows * (Number(table.width) + overhead)) / fillfactor;
  const message = `${table.name} takes ${bytes(size)} for about ${Math.round(table.rows)} records`;
  if (size < BLOATED_BYTES || size < expected * BLOATED_RATIO) yield ok('postgres.bloat', message);
  else {
    yield warning(
      'postgres.bloat',
      `${message}, which need ${bytes(expected)}: the rest is dead rows, or space from a time with more`,
      'Have it vacuumed more often. To give the space back: pg_repack, or VACUUM FULL, which locks the table meanwhile',
    );
  }
}
