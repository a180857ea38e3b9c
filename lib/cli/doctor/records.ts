import { ScopeDigest } from '../../edges/caller/caller-digests.js';
import { RecordView } from '../../service/record-view.js';
import { instantsOf } from '../../store/dialects/clock.js';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { IdempotencyRecord } from '../../store/entities/index.js';
import { quotedTable } from '../../store/table-path.js';
import { type Findings, hint, ok, warning } from './finding.js';
import type { Subject } from './subject.js';

/** Counting reads the whole table. Above this, it would take longer than a check may. */
const MAX_ROWS_TO_COUNT = 1_000_000;
/** The sweeper runs every minute: a record that has been expired for longer shows that it does not keep up. */
const LATE_SWEEP_MS = 3_600_000;

/** Checks for records that an operator has to resolve, and that the sweeper has not deleted. */
export async function* records(subject: Subject): Findings {
  yield* sweeping(subject);
  const rows = await estimatedRows(subject);
  if (rows > MAX_ROWS_TO_COUNT) {
    const message = `About ${rows} records: held, abandoned and unfinished ones are not counted, as that reads the whole table`;
    yield hint('records', message, 'npx nestjs-idempotency stats, at a quiet time');
    return;
  }
  const { total, byStatus, abandoned, unfinished } = await new RecordView(
    subject.dataSource,
    new ScopeDigest({}),
  ).stats();
  if (byStatus.held > 0) {
    yield warning(
      'records.held',
      `Held records: ${byStatus.held}. Their clients get 409 outcome-unknown until an operator resolves them`,
      'npx nestjs-idempotency list --held, then show and resolve (docs/operations.md#held-records)',
    );
  } else yield ok('records.held', `No record of ${total} is held`);
  if (abandoned > 0) {
    yield hint(
      'records.abandoned',
      `Executions that died, and no retry has come: ${abandoned}. No client knows their outcome`,
      'npx nestjs-idempotency list --status processing, and compare with the other side',
    );
  }
  if (unfinished > 0) {
    yield hint(
      'records.unfinished',
      `Operations that failed half way, and no retry has finished: ${unfinished}. A step of each has happened, or may have`,
      'npx nestjs-idempotency list --status failed: those that never expire (docs/operations.md#retention)',
    );
  }
}

async function* sweeping({ dataSource, application }: Subject): Findings {
  const oldest = await dataSource
    .createQueryBuilder(IdempotencyRecord, 'r')
    .select(instantsOf(dataSource).since('r.expiresAt'), 'ago')
    .where(`r.status IN ('done', 'failed')`)
    .orderBy('r.expiresAt', 'ASC')
    .limit(1)
    .getRawOne<{ ago: string | number }>();
  const ago = Number(oldest?.ago ?? 0);
  if (ago < LATE_SWEEP_MS) {
    yield ok('records.sweeping', 'Sweeping keeps up: no record has been expired for an hour');
    return;
  }
  const cause = application.sweeps
    ? 'sweeping does not keep up, or no process runs'
    : 'the option `sweep` is false, and no job deletes them';
  yield warning(
    'records.sweeping',
    `The oldest expired record has been so for ${Math.round(ago / 60_000)} minutes: ${cause}`,
    'npx nestjs-idempotency purge deletes them now; then a shorter `sweep.every`, or purge from a scheduled job',
  );
}

/** Reads the database's statistics, because counting may take minutes. */
async function estimatedRows({ dataSource }: Subject): Promise<number> {
  const quoted = quotedTable(dataSource, IdempotencyRecord);
  const ask = async (sql: string, parameters: unknown[]) => {
    const [{ estimate }] = await dataSource.query<{ estimate: string | number | null }[]>(sql, parameters);
    return Math.round(Number(estimate ?? 0));
  };
  switch (dialectNameOf(dataSource)) {
    case 'postgres':
      return ask(
        `SELECT sum(greatest(reltuples, 0)) AS estimate FROM pg_class
         WHERE relkind = 'r' AND (oid = $1::regclass OR oid IN (SELECT relid FROM pg_partition_tree($1::regclass)))`,
        [quoted],
      );
    case 'mysql':
      return ask(
        `SELECT table_rows AS estimate FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,
        [dataSource.getMetadata(IdempotencyRecord).tableName],
      );
    case 'sqlite':
      return ask(`SELECT max(rowid) AS estimate FROM ${quoted}`, []);
  }
}
