import { type MigrationInterface, type QueryRunner, Table, TableIndex } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import { NATIVE_TYPES } from '../entities/dialect-columns.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import { quotedPath, tablePathOf } from '../table-path.js';

/**
 * Most of each page stays free for new versions of its rows. A record is updated once or twice, with its response, soon after
 * its insertion. If the new version fits on the same page, no index changes.
 */
const FILLFACTOR_PERCENT = 35;

/**
 * A table that is emptied at night keeps its pages. VACUUM would cut them off under a lock that blocks reads. And a plan that
 * was made for a table without pages scans all of it for each claim after it has grown.
 */
const VACUUM_TRUNCATE = 'off';

/** Creates the tables as `synchronize` would. */
export class CreateIdempotencyTables1767225600000 implements MigrationInterface {
  readonly name = 'CreateIdempotencyTables1767225600000';

  async up(runner: QueryRunner): Promise<void> {
    const { record, step } = tables(runner);
    await runner.createTable(record);
    await runner.createTable(step);
    if (dialectNameOf(runner.connection) === 'postgres') {
      await runner.query(
        `ALTER TABLE ${quotedPath(runner.connection, record.name)} SET (fillfactor = ${FILLFACTOR_PERCENT}, vacuum_truncate = ${VACUUM_TRUNCATE})`,
      );
    }
  }

  async down(runner: QueryRunner): Promise<void> {
    const { record, step } = tables(runner);
    await runner.dropTable(step.name);
    await runner.dropTable(record.name);
  }
}

function tables(runner: QueryRunner): { record: Table; step: Table } {
  // TypeORM 0.3 has no `dataSource` here.
  const dataSource = runner.connection;
  const types = NATIVE_TYPES[dialectNameOf(dataSource)];
  const boolean = { type: dataSource.driver.normalizeType({ type: Boolean }) };
  const integer = { type: dataSource.driver.normalizeType({ type: 'integer' }) };
  const token = { type: 'bigint' };
  const optional = { isNullable: true };
  const record = new Table({
    name: tablePathOf(dataSource, IdempotencyRecord),
    columns: [
      { name: 'id', ...types.id, isPrimary: true },
      { name: 'endpoint', type: 'varchar', length: '255' },
      { name: 'fingerprint', ...types.digest },
      { name: 'binding', ...types.digest, ...optional },
      { name: 'status', type: 'varchar', length: '10' },
      { name: 'owner', ...types.id },
      { name: 'token', ...token },
      { name: 'attempt', ...integer },
      { name: 'taken_from', type: 'varchar', length: '10', ...optional },
      { name: 'hold_on_crash', ...boolean },
      { name: 'awaited', ...boolean },
      { name: 'lease_until', ...types.instant },
      { name: 'created_at', ...types.instant },
      { name: 'completed_at', ...types.instant, ...optional },
      { name: 'expires_at', ...types.instant },
      { name: 'request', ...types.bytes, ...optional },
      { name: 'response_code', type: 'smallint', ...optional },
      { name: 'response_head', ...types.bytes, ...optional },
      { name: 'response_body', ...types.bytes, ...optional },
    ],
    indices: [new TableIndex({ columnNames: ['expires_at'] })],
  });
  const step = new Table({
    name: tablePathOf(dataSource, IdempotencyStep),
    columns: [
      { name: 'record_id', ...types.id, isPrimary: true },
      { name: 'name', type: 'varchar', length: '191', isPrimary: true },
      { name: 'status', type: 'varchar', length: '10' },
      { name: 'token', ...token },
      { name: 'result', ...types.bytes, ...optional },
      { name: 'updated_at', ...types.instant },
    ],
  });
  return { record, step };
}
