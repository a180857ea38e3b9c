import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions } from 'typeorm';
import type { TestDatabase } from '../../support/database.js';
import { IDEMPOTENCY_ENTITIES } from 'nestjs-idempotency';
import { ACCOUNTS } from '../app/deadlock.js';
import { EffectRow } from '../app/effect-row.js';
import type { Looked, Row } from '../history/entry.js';
import { type Log, now } from '../history/log.js';
import type { Servers } from './servers.js';

/** In bytes. Handlers that are to be refused answer with more. */
const LARGEST_BODY = 1_000;

/** Has the tables of a database made where the disk can be filled up. */
export async function putOnDisk(database: TestDatabase, { disk }: Servers): Promise<void> {
  if (!disk) return;
  const dataSource = await new DataSource(database.options as DataSourceOptions).initialize();
  try {
    const known = await query(dataSource, "SELECT 1 FROM pg_tablespace WHERE spcname = 'lab_disk'");
    if (known.length === 0) await query(dataSource, `CREATE TABLESPACE lab_disk LOCATION '${disk.folder}'`);
    await query(dataSource, `ALTER DATABASE ${String(database.options.database)} SET default_tablespace = lab_disk`);
  } finally {
    await dataSource.destroy();
  }
}

/** What the application needs, and what the database is to refuse. */
export async function makeTables(database: TestDatabase): Promise<void> {
  const entities = [EffectRow, ...IDEMPOTENCY_ENTITIES];
  const options = { ...database.options, entities, synchronize: true } as DataSourceOptions;
  const dataSource = await new DataSource(options).initialize();
  try {
    const accounts = Array.from({ length: ACCOUNTS }, (_, i) => `(${i}, 0)`).join(', ');
    for (const statement of [
      'CREATE TABLE lab_account (id int PRIMARY KEY, n int NOT NULL)',
      `INSERT INTO lab_account VALUES ${accounts}`,
      `ALTER TABLE idempotency_record ADD CONSTRAINT lab_small_body CHECK (octet_length(response_body) < ${LARGEST_BODY})`,
      ...(database.dialect === 'postgres'
        ? ['CREATE TABLE lab_posting (account int REFERENCES lab_account DEFERRABLE INITIALLY DEFERRED)']
        : []),
    ]) {
      await dataSource.query(statement);
    }
  } finally {
    await dataSource.destroy();
  }
}

/** What transactional handlers have written until now. */
export async function rowsOf(dataSource: DataSource): Promise<(Row | Looked)[]> {
  const stamp = { who: 'lab', at: now() };
  if (!dataSource.isInitialized) await dataSource.initialize();
  const found = await dataSource.manager.find(EffectRow);
  const rows = found.map(({ op, part, run, token, attempt }): Row => {
    return { ...stamp, kind: 'row', op, part, run, token, attempt };
  });
  return [...rows, { ...stamp, kind: 'looked' }];
}

/** Writes down what is in the database, then lets everything expire, and looks what sweeping leaves. */
export async function conclude(database: TestDatabase, log: Log, sweep: () => Promise<void>): Promise<void> {
  const options = { ...database.options, entities: [EffectRow] } as DataSourceOptions;
  const dataSource = await new DataSource(options).initialize();
  try {
    for (const row of await rowsOf(dataSource)) log.say(row);
    const records = await query(dataSource, 'SELECT id, status, token FROM idempotency_record');
    for (const { id, status, token } of records) {
      log.say({ kind: 'final record', record: String(id), status: String(status), token: Number(token) });
    }
    const past = database.dialect === 'postgres' ? "'2001-01-01'" : '1';
    // Claims of processes that died before anything was done are kept for their lease and retention.
    const dates = `expires_at = ${past}, lease_until = ${past}, retention_ms = 0`;
    await query(dataSource, `UPDATE idempotency_record SET ${dates} WHERE status <> 'held'`);
    log.say({ kind: 'left', ...(await leftAfter(sweep, dataSource)) });
    // The next run begins with nothing.
    for (const table of ['effect_row', 'idempotency_step', 'idempotency_record']) {
      await query(dataSource, `TRUNCATE TABLE ${table}`);
    }
  } finally {
    await dataSource.destroy();
  }
}

/**
 * What stays however often is swept, and should not: held records, and steps that a retry would have to find, are kept. Another process may be sweeping as well: its rows are passed over, and there until it
 * commits.
 */
async function leftAfter(
  sweep: () => Promise<void>,
  dataSource: DataSource,
): Promise<{ records: number; steps: number }> {
  for (const until = performance.now() + 10_000; ; await sleep(200)) {
    await sweep();
    const [{ records }] = await query(
      dataSource,
      `SELECT COUNT(*) AS records FROM idempotency_record r WHERE status <> 'held' AND NOT (status = 'processing'
        AND EXISTS (SELECT 1 FROM idempotency_step s WHERE s.record_id = r.id))`,
    );
    const [{ steps }] = await query(
      dataSource,
      `SELECT COUNT(*) AS steps FROM idempotency_step s
        WHERE NOT EXISTS (SELECT 1 FROM idempotency_record r WHERE r.id = s.record_id)`,
    );
    const left = { records: Number(records), steps: Number(steps) };
    if ((left.records === 0 && left.steps === 0) || performance.now() > until) return left;
  }
}

function query(dataSource: DataSource, sql: string): Promise<Record<string, unknown>[]> {
  return dataSource.query(sql);
}
