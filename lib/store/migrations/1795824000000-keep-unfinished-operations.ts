import type { MigrationInterface, QueryRunner } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import { quotedTable } from '../table-path.js';

/** For existing records, the defaults of the options `maxAttempts` (less the attempt that runs) and `retention`. */
const COLUMNS = ['attempts_left integer NOT NULL DEFAULT 4', 'retention_ms bigint NOT NULL DEFAULT 86400000'];

/**
 * Adds the number of executions that may still take over, and the retention of each operation. On MySQL, step names are now
 * compared byte by byte: under the database's own collation, `item-A` and `item-a` shared a row.
 */
export class KeepUnfinishedOperations1795824000000 implements MigrationInterface {
  readonly name = 'KeepUnfinishedOperations1795824000000';

  async up(runner: QueryRunner): Promise<void> {
    const { connection } = runner;
    const dialect = dialectNameOf(connection);
    const record = quotedTable(connection, IdempotencyRecord);
    const step = quotedTable(connection, IdempotencyStep);
    for (const column of COLUMNS) await runner.query(`ALTER TABLE ${record} ADD COLUMN ${column}`);
    if (dialect !== 'mysql') return;
    await runner.query(
      `ALTER TABLE ${step} MODIFY name varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`,
    );
  }

  /**
   * On MySQL, deletes the steps of completed operations: the database's own collation may take two of their names for the same.
   * Fails if an operation without an outcome has such steps.
   */
  async down(runner: QueryRunner): Promise<void> {
    const { connection } = runner;
    const record = quotedTable(connection, IdempotencyRecord);
    const step = quotedTable(connection, IdempotencyStep);
    if (dialectNameOf(connection) === 'mysql') {
      await runner.query(`DELETE s FROM ${step} s JOIN ${record} r ON r.id = s.record_id WHERE r.status = 'done'`);
      await runner.query(`ALTER TABLE ${step} MODIFY name varchar(191) NOT NULL`);
    }
    for (const column of COLUMNS) await runner.query(`ALTER TABLE ${record} DROP COLUMN ${column.split(' ')[0]}`);
  }
}
