import type { MigrationInterface, QueryRunner } from 'typeorm';
import { type DialectName, dialectNameOf } from '../dialects/dialect-name.js';
import { IdempotencyRecord } from '../entities/index.js';
import { quotedPath, tablePathOf } from '../table-path.js';

/** Nullable and last: no table is rewritten, and processes of the previous version can still insert. */
const COLUMNS: Record<DialectName, Record<'route' | 'scope_digest', string>> = {
  postgres: { route: 'varchar(255)', scope_digest: 'bytea' },
  mysql: { route: 'varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL', scope_digest: 'varbinary(32) NULL' },
  sqlite: { route: 'varchar(255)', scope_digest: 'blob' },
};

const COLUMN = 'scope_digest';
/** Leaves records without a scope out of the index, where the database can. */
const WHERE = 'scope_digest IS NOT NULL';

/** Adds the route of operations with a name, and a digest that finds the records of one scope. */
export class KeepRouteAndScope1796860800000 implements MigrationInterface {
  readonly name = 'KeepRouteAndScope1796860800000';

  async up(runner: QueryRunner): Promise<void> {
    const { dialect, table, index } = names(runner);
    const added = Object.entries(COLUMNS[dialect]).map(([name, type]) => `ADD COLUMN ${name} ${type}`);
    if (dialect === 'mysql') {
      // MySQL commits each statement: a migration that failed between two could not be run again.
      await runner.query(`ALTER TABLE ${table} ${added.join(', ')}, ADD INDEX ${index} (${COLUMN})`);
      return;
    }
    for (const column of added) await runner.query(`ALTER TABLE ${table} ${column}`);
    await runner.query(`CREATE INDEX ${index} ON ${table} (${COLUMN}) WHERE ${WHERE}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const { dialect, table, index } = names(runner);
    const dropped = Object.keys(COLUMNS[dialect]).map((name) => `DROP COLUMN ${name}`);
    // The index goes with its column, except on SQLite. TypeORM 0.3 and 1 have different names for it.
    if (dialect === 'sqlite') await runner.query(`DROP INDEX ${index}`);
    if (dialect === 'mysql') return void (await runner.query(`ALTER TABLE ${table} ${dropped.join(', ')}`));
    for (const column of dropped) await runner.query(`ALTER TABLE ${table} ${column}`);
  }
}

/** TypeORM's own schema methods would query the database, which `migrations print` does not have. */
function names({ connection }: QueryRunner) {
  const path = tablePathOf(connection, IdempotencyRecord);
  const [name] = path.split('.').slice(-1);
  return {
    dialect: dialectNameOf(connection),
    table: quotedPath(connection, path),
    /** The name that `synchronize` gives it. */
    index: connection.driver.escape(connection.namingStrategy.indexName(name, [COLUMN], WHERE)),
  };
}
