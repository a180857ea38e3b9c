import pg from 'pg';

/** Asks a PostgreSQL server on a port of its own, past every proxy and pool. */
export async function query(
  port: number,
  sql: string,
  { user = 'postgres', database = 'test' } = {},
): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ host: '127.0.0.1', port, user, database, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}
