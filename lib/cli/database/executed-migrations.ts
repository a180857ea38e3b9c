import type { DataSource } from 'typeorm';
import { IDEMPOTENCY_MIGRATIONS } from '../../store/migrations/index.js';

/** The names of the library's migrations, in their order. */
export const MIGRATIONS: readonly string[] = IDEMPOTENCY_MIGRATIONS.map((migration) => new migration().name);

/** Returns the names of the library's migrations that have run, in that order. */
export async function executedMigrations(dataSource: DataSource): Promise<string[]> {
  const { migrationsTableName = 'migrations', schema } = dataSource.options as {
    migrationsTableName?: string;
    schema?: string;
  };
  const path = dataSource.driver.buildTableName(migrationsTableName, schema);
  const runner = dataSource.createQueryRunner();
  try {
    if (!(await runner.hasTable(path))) return [];
    const rows = await dataSource
      .createQueryBuilder(runner)
      .select('m.name', 'name')
      .from(path, 'm')
      .orderBy('m.id', 'ASC')
      .getRawMany<{ name: string }>();
    return rows.map(({ name }) => name).filter((name) => MIGRATIONS.includes(name));
  } finally {
    await runner.release();
  }
}
