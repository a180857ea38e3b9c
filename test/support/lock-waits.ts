import type { DataSource } from 'typeorm';

/** Returns whether as many statements wait for rows of this database that a transaction holds, on PostgreSQL or MariaDB. */
export async function waitsForLock(dataSource: DataSource, count = 1): Promise<boolean> {
  const { type, database } = dataSource.options as { type: string; database: string };
  if (type === 'postgres') return (await waitersForLock(dataSource)).length >= count;
  // Not `innodb_trx`: MariaDB shows the first look at it for as long as anything reads it more often than every 100 ms.
  const [{ Status }] = await dataSource.query<{ Status: string }[]>('SHOW ENGINE INNODB STATUS');
  return [...Status.matchAll(new RegExp(`of table \`${database}\`\\..* waiting`, 'g'))].length >= count;
}

/** Returns the processes of PostgreSQL that wait for rows of this database. */
export async function waitersForLock(dataSource: DataSource): Promise<number[]> {
  const waiting = await dataSource.query<{ pid: number }[]>(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
  );
  return waiting.map(({ pid }) => pid);
}
