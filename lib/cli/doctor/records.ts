import { ScopeDigest } from '../../edges/caller/caller-digests.js';
import { RecordView } from '../../service/record-view.js';
import { millisecondsAgo } from '../../store/dialects/clock.js';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { IdempotencyRecord } from '../../store/entities/index.js';
import { quotedPath } from '../../store/table-path.js';
import { type Finding, hint, ok, warning } from './finding.js';
import { recordTable } from './server.js';
import type { Subject } from './subject.js';

/** Counting reads the whole table: not where that takes more than a moment. */
const MOST_TO_COUNT = 1_000_000;
/** The sweeper runs every minute. What is older waits for something else. */
const LATE_SWEEP_MS = 3_600_000;

/** What waits for a person, or for the sweeper. */
export async function records(subject: Subject): Promise<Finding[]> {
  const { dataSource } = subject;
  const findings = await sweeping(subject);
  const rows = await estimatedRows(subject);
  if (rows > MOST_TO_COUNT) {
    const message = `About ${rows} records: held and abandoned ones are not counted, as that reads the whole table`;
    return [...findings, hint('records', message, 'npx nestjs-idempotency stats, at a quiet time')];
  }
  const { total, byStatus, abandoned } = await new RecordView(dataSource, new ScopeDigest({})).stats();
  findings.push(
    byStatus.held > 0
      ? warning(
          'records.held',
          `Held records: ${byStatus.held}. Their clients get 409 outcome-unknown until a person has decided`,
          'npx nestjs-idempotency list --held, then show and resolve (docs/operations.md#held-records)',
        )
      : ok('records.held', `No record of ${total} is held`),
  );
  if (abandoned > 0) {
    findings.push(
      hint(
        'records.abandoned',
        `Executions that died, and no retry has come: ${abandoned}. No client knows their outcome`,
        'npx nestjs-idempotency list --status processing, and compare with the other side',
      ),
    );
  }
  return findings;
}

async function sweeping({ dataSource, application }: Subject): Promise<Finding[]> {
  const oldest = await dataSource
    .createQueryBuilder(IdempotencyRecord, 'r')
    .select(millisecondsAgo(dataSource, 'r.expiresAt'), 'ago')
    .where(`r.status IN ('done', 'failed')`)
    .orderBy('r.expiresAt', 'ASC')
    .limit(1)
    .getRawOne<{ ago: string | number }>();
  const ago = Number(oldest?.ago ?? 0);
  if (ago < LATE_SWEEP_MS) return [ok('records.sweeping', 'Sweeping keeps up: nothing has been expired for an hour')];
  const cause = application.sweeps
    ? 'sweeping does not keep up, or no process runs'
    : 'the option `sweep` is false, and no job deletes them';
  return [
    warning(
      'records.sweeping',
      `The oldest expired record has been so for ${Math.round(ago / 60_000)} minutes: ${cause}`,
      'npx nestjs-idempotency purge deletes them now; then a shorter `sweep.every`, or purge from a scheduled job',
    ),
  ];
}

/** As the database's statistics have it: counting is what this is to spare. */
async function estimatedRows({ dataSource }: Subject): Promise<number> {
  const path = recordTable(dataSource);
  const quoted = quotedPath(dataSource, path);
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
        [path.split('.').at(-1)],
      );
    case 'sqlite':
      return ask(`SELECT max(rowid) AS estimate FROM ${quoted}`, []);
  }
}
