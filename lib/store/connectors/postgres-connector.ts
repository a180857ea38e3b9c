import { createHash } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { PgAnswer, PgConnection } from '../dialects/postgres.js';
import { initialized } from '../data-source.js';
import type { Connector } from './connector.js';
import { endPool, type PgPool, poolBeside } from './postgres-pool.js';

/** A connection that has not answered for so many milliseconds is closed, so that it is not missing from the pool. */
const GIVE_UP_AFTER = 30_000;

/** What PostgreSQL says of a prepared statement that is on another connection than the client believes. */
const MISPLACED = new Set<unknown>(['26000', '42P05']);

export class PostgresConnector implements Connector<PgConnection> {
  readonly singleConnection = false;
  private readonly names = new Map<string, string>();
  private prepares = true;
  private ownPool: PgPool | undefined;

  /** @param connections how many of its own it may open; 0: it shares the data source's */
  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<PgConnection>,
    private connections: number,
  ) {}

  async alone<T>(work: (on: PgConnection) => Promise<T>): Promise<T> {
    const client = await this.pool().connect();
    let broken: unknown;
    // A client that breaks while it is ours says so by an event, which ends the process where nobody listens.
    const onError = (error: unknown) => (broken = error);
    client.on('error', onError);
    const ask = () =>
      work(this.prepared((statement) => client.query<PgAnswer>({ ...statement, query_timeout: GIVE_UP_AFTER })));
    try {
      // What a misplaced statement belongs to has been undone: it can be asked for again.
      return await ask().catch((error: unknown) => (isMisplaced(error) ? ask() : Promise.reject(error)));
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
    const client = (await manager.queryRunner!.connect()) as PgConnection;
    return this.prepared((statement) => client.query(statement));
  }

  /**
   * Prepared by name, until a pooler turns out to hand out connections by the transaction without keeping track of
   * prepared statements (PgBouncer before 1.21, or with `max_prepared_statements` at 0). Such a pooler's connections
   * outlive ours: a name stands for its text, so that another version of a statement is never run in its place.
   */
  private prepared(query: PgConnection['query']): PgConnection {
    return {
      query: async ({ name, ...statement }) => {
        try {
          return await query(
            name && this.prepares ? { ...statement, name: this.nameOf(name, statement.text) } : statement,
          );
        } catch (error) {
          if (isMisplaced(error)) this.doWithoutNames();
          throw error;
        }
      },
    };
  }

  private nameOf(name: string, text: string): string {
    let full = this.names.get(text);
    if (!full) {
      full = `${name}_${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
      this.names.set(text, full);
    }
    return full;
  }

  private doWithoutNames(): void {
    if (!this.prepares) return;
    this.prepares = false;
    new Logger('Idempotency').warn(
      'A pooler in front of PostgreSQL does not keep prepared statements: going on without, at the price of planning each anew',
    );
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  /** What comes after all goes through the data source's pool. */
  async close(): Promise<void> {
    const { ownPool } = this;
    this.connections = 0;
    this.ownPool = undefined;
    if (ownPool) await endPool(ownPool);
  }

  /** To the primary: a replica may not have heard of the record yet. */
  private pool(): PgPool {
    const { master } = initialized(this.dataSource).driver as unknown as { master: PgPool };
    // What only resembles a pool of pg, such as a database in memory, has no options to make another by.
    if (this.connections === 0 || !master.options) return master;
    return (this.ownPool ??= poolBeside(master, this.connections));
  }
}

function isMisplaced(error: unknown): boolean {
  return MISPLACED.has((error as { code?: unknown } | undefined)?.code);
}

/** Whether the connection is as good as before: the server itself reported the error, and not as its last word. */
function leavesConnection(error: unknown): boolean {
  return (error as { severity?: unknown } | undefined)?.severity === 'ERROR';
}
