import type { MigrationInterface, QueryRunner } from 'typeorm';
import { type DialectName, dialectNameOf } from '../dialects/dialect-name.js';
import { IdempotencyRecord } from '../entities/index.js';
import { quotedPath, tablePathOf } from '../table-path.js';

/** Nullable and last: the databases add them without rewriting the table, and processes of the version before leave them out. */
const COLUMNS: Record<DialectName, Record<'route' | 'scope_digest', string>> = {
  postgres: { route: 'varchar(255)', scope_digest: 'bytea' },
  mysql: { route: 'varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL', scope_digest: 'varbinary(32) NULL' },
  sqlite: { route: 'varchar(255)', scope_digest: 'blob' },
};

const COLUMN = 'scope_digest';
/** Records of callers without a scope, and those from before, cost the index nothing where it can leave them out. */
const WHERE = 'scope_digest IS NOT NULL';

/** Keeps the route of operations that have a name, and a digest by which the records of one scope are found. */
export class KeepRouteAndScope1796860800000 implements MigrationInterface {
  readonly name = 'KeepRouteAndScope1796860800000';

  async up(runner: QueryRunner): Promise<void> {
    const { dialect, table, index } = names(runner);
    for (const [name, type] of Object.entries(COLUMNS[dialect])) {
      await runner.query(`ALTER TABLE ${table} ADD COLUMN ${name} ${type}`);
    }
    const where = dialect === 'mysql' ? '' : ` WHERE ${WHERE}`;
    await runner.query(`CREATE INDEX ${index} ON ${table} (${COLUMN})${where}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    const { dialect, table, schema, index } = names(runner);
    await runner.query(`DROP INDEX ${dialect === 'mysql' ? `${index} ON ${table}` : schema + index}`);
    for (const name of Object.keys(COLUMNS[dialect])) await runner.query(`ALTER TABLE ${table} DROP COLUMN ${name}`);
  }
}

/** `migrations print` has no database that TypeORM could look into: the statements are written out. */
function names({ connection }: QueryRunner) {
  const path = tablePathOf(connection, IdempotencyRecord);
  const [name, ...schema] = path.split('.').reverse();
  return {
    dialect: dialectNameOf(connection),
    table: quotedPath(connection, path),
    schema: schema.map((part) => `${connection.driver.escape(part)}.`).join(''),
    /** As `synchronize` would call it. */
    index: connection.driver.escape(connection.namingStrategy.indexName(name, [COLUMN], WHERE)),
  };
}
