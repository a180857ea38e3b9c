import type { DataSource } from 'typeorm';
import { IDEMPOTENCY_MIGRATIONS } from '../../store/migrations/index.js';

/** Names of our migrations that have run, the last one last. */
export async function executedMigrations(dataSource: DataSource): Promise<string[]> {
  const table = dataSource.options.migrationsTableName ?? 'migrations';
  const runner = dataSource.createQueryRunner();
  try {
    const { schema } = dataSource.options as { schema?: string };
    const path = dataSource.driver.buildTableName(table, schema);
    if (!(await runner.hasTable(path))) return [];
    const rows = (await dataSource
      .createQueryBuilder(runner)
      .select('m.name', 'name')
      .from(path, 'm')
      .orderBy('m.id', 'ASC')
      .getRawMany<{ name: string }>())!;
    const ours = IDEMPOTENCY_MIGRATIONS.map((migration) => new migration().name);
    return rows.map(({ name }) => name).filter((name) => ours.includes(name as (typeof ours)[number]));
  } finally {
    await runner.release();
  }
}
