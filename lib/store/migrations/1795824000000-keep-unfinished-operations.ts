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
    if (dialect !== 'mysql') {
      for (const column of COLUMNS) await runner.query(`ALTER TABLE ${record} ADD COLUMN ${column}`);
      return;
    }
    // MySQL commits each statement. What can be repeated comes first, and one statement last: a migration that failed half way, as for a
    // lock, can be run again.
    await runner.query(
      `ALTER TABLE ${step} MODIFY name varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`,
    );
    await runner.query(`ALTER TABLE ${record} ${COLUMNS.map((column) => `ADD COLUMN ${column}`).join(', ')}`);
  }

  /**
   * On MySQL, deletes the steps of completed operations: the database's own collation may take two of their names for the same.
   * Fails if an operation without an outcome has such steps.
   */
  async down(runner: QueryRunner): Promise<void> {
    const { connection } = runner;
    const record = quotedTable(connection, IdempotencyRecord);
    const step = quotedTable(connection, IdempotencyStep);
    const names = COLUMNS.map((column) => column.split(' ')[0]);
    if (dialectNameOf(connection) !== 'mysql') {
      for (const name of names) await runner.query(`ALTER TABLE ${record} DROP COLUMN ${name}`);
      return;
    }
    await runner.query(`DELETE s FROM ${step} s JOIN ${record} r ON r.id = s.record_id WHERE r.status = 'done'`);
    await runner.query(`ALTER TABLE ${step} MODIFY name varchar(191) NOT NULL`);
    await runner.query(`ALTER TABLE ${record} ${names.map((name) => `DROP COLUMN ${name}`).join(', ')}`);
  }
}
