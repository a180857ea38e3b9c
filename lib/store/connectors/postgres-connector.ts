import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { PgAnswer, PgConnection } from '../dialects/postgres.js';
import type { Connector } from './connector.js';

/** What we use of a `pg` pool. */
interface PgPool {
  connect(): Promise<PgClient>;
}

interface PgClient {
  query(statement: { text: string; name?: string; values?: unknown[]; query_timeout: number }): Promise<PgAnswer>;
  /** Back to the pool, which closes it where there was an error. */
  release(error?: unknown): void;
  on(event: 'error', listener: (error: unknown) => void): void;
  off(event: 'error', listener: (error: unknown) => void): void;
}

/** A connection that has not answered for so many milliseconds is closed, so that it is not missing from the pool. */
const GIVE_UP_AFTER = 30_000;

export class PostgresConnector implements Connector<PgConnection> {
  readonly singleConnection = false;

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<PgConnection>,
  ) {}

  /** Through the pool of the primary: a replica may not have heard of the record yet. */
  async alone<T>(work: (on: PgConnection) => Promise<T>): Promise<T> {
    const client = await (this.dataSource.driver as unknown as { master: PgPool }).master.connect();
    let broken: unknown;
    // A client that breaks while it is ours says so by an event, which ends the process where nobody listens.
    const onError = (error: unknown) => (broken = error);
    client.on('error', onError);
    try {
      return await work({ query: (statement) => client.query({ ...statement, query_timeout: GIVE_UP_AFTER }) });
    } catch (error) {
      if (!leavesConnection(error)) broken = error;
      throw error;
    } finally {
      client.off('error', onError);
      client.release(broken);
    }
  }

  atomically<T>(work: (on: PgConnection) => Promise<T>): Promise<T> {
    return this.alone(async (on) => {
      await on.query({ text: 'BEGIN ISOLATION LEVEL READ COMMITTED' });
      try {
        const result = await work(on);
        await on.query({ text: 'COMMIT' });
        return result;
      } catch (error) {
        if (leavesConnection(error)) await on.query({ text: 'ROLLBACK' });
        throw error;
      }
    });
  }

  async within(manager: EntityManager): Promise<PgConnection> {
    return (await manager.queryRunner!.connect()) as PgConnection;
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }
}

/** Whether the connection is as good as before: the server itself reported the error, and not as its last word. */
function leavesConnection(error: unknown): boolean {
  return (error as { severity?: unknown } | undefined)?.severity === 'ERROR';
}
