import type { MigrationInterface, QueryRunner } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import { quotedPath, tablePathOf } from '../table-path.js';

/** The defaults of the options `maxAttempts`, less the one that runs, and `retention`: for records that are there already. */
const COLUMNS = ['attempts_left integer NOT NULL DEFAULT 4', 'retention_ms bigint NOT NULL DEFAULT 86400000'];

/**
 * Counts the executions that may still take over, keeps the retention of each operation, and on MySQL compares the names of
 * steps byte by byte: under the database's own collation, `item-A` and `item-a` share a row.
 */
export class KeepUnfinishedOperations1795824000000 implements MigrationInterface {
  readonly name = 'KeepUnfinishedOperations1795824000000';

  async up(runner: QueryRunner): Promise<void> {
    const dialect = dialectNameOf(runner.connection);
    const { record, step } = tables(runner);
    for (const column of COLUMNS) await runner.query(`ALTER TABLE ${record} ADD COLUMN ${column}`);
    if (dialect !== 'mysql') return;
    await runner.query(
      `ALTER TABLE ${step} MODIFY name varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`,
    );
  }

  /**
   * On MySQL, deletes the steps of completed operations, which are of no more use: two of them may have names that the
   * database's own collation takes for one. Where an operation without an outcome has such steps, it fails.
   */
  async down(runner: QueryRunner): Promise<void> {
    const { record, step } = tables(runner);
    if (dialectNameOf(runner.connection) === 'mysql') {
      await runner.query(`DELETE s FROM ${step} s JOIN ${record} r ON r.id = s.record_id WHERE r.status = 'done'`);
      await runner.query(`ALTER TABLE ${step} MODIFY name varchar(191) NOT NULL`);
    }
    for (const column of COLUMNS) await runner.query(`ALTER TABLE ${record} DROP COLUMN ${column.split(' ')[0]}`);
  }
}

function tables(runner: QueryRunner): { record: string; step: string } {
  const quoted = (entity: typeof IdempotencyRecord | typeof IdempotencyStep) =>
    quotedPath(runner.connection, tablePathOf(runner.connection, entity));
  return { record: quoted(IdempotencyRecord), step: quoted(IdempotencyStep) };
}
