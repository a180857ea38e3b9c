import { createHash } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import { markStatement, type PgConnection } from '../dialects/postgres.js';
import type { DirectTransactions } from './connector.js';
import { nestingOf } from './nesting.js';
import { PooledConnector } from './pooled-connector.js';
import { type Pool, StorePools } from './pools.js';
import { giveBackPostgres, ownPostgresPool, type PgClient, sharedPostgresPool } from './postgres-pool.js';
import { beginDirectly, commitDirectly, LastStatement } from './postgres-transactions.js';

/** What PostgreSQL says of a prepared statement that is on another connection than the client believes. */
const MISPLACED = new Set<unknown>(['26000', '42P05']);

export class PostgresConnector extends PooledConnector<PgClient, PgConnection> {
  protected readonly begin = ['BEGIN ISOLATION LEVEL READ COMMITTED'];
  private readonly names = new Map<string, string>();
  private prepares = true;
  private readonly shared: Pool<PgClient>;
  private readonly directTransactions: DirectTransactions<PgConnection> = {
    on: (client) => this.prepared(client as PgClient),
    begin: (runner, client, mark) => beginDirectly(runner, client, markStatement(mark)),
    commit: commitDirectly,
    last: (runner, client) => {
      const last = LastStatement.of(runner, client);
      return last && { on: this.prepared(last), isRefused: () => last.isRefused };
    },
  };

  /** @param connections how many of its own it may open; 0: it shares the data source's */
  constructor(dataSource: DataSource, dialect: Dialect<PgConnection>, connections: number) {
    const own = (limit: number) => ownPostgresPool(dataSource, limit);
    const shared = sharedPostgresPool(dataSource);
    super(dialect, new StorePools(shared, own, connections), nestingOf(dataSource, shared));
    this.shared = shared;
  }

  /** What only resembles a pool of `pg`, such as a database in memory, may not take two statements in one message. */
  get direct(): DirectTransactions<PgConnection> | undefined {
    return this.shared.limit < Infinity ? this.directTransactions : undefined;
  }

  async within(manager: EntityManager): Promise<PgConnection> {
    return this.prepared((await manager.queryRunner!.connect()) as PgClient);
  }

  protected on(client: PgClient): PgConnection {
    return this.prepared(client);
  }

  protected tell(on: PgConnection, statement: string): Promise<unknown> {
    return on.query({ text: statement });
  }

  protected giveBack(client: PgClient, broken: unknown): void {
    giveBackPostgres(client, broken);
  }

  /** While a statement is under way, `pg` does not wait for it. */
  protected cut(client: PgClient): void {
    void client.end().catch(() => undefined);
  }

  protected leavesConnection(error: unknown): boolean {
    return (error as { severity?: unknown } | undefined)?.severity === 'ERROR';
  }

  /** What a misplaced statement belongs to has been undone, and is asked for without a name from here on. */
  protected override isCured(error: unknown): boolean {
    return isMisplaced(error);
  }

  /**
   * Prepared by name, until a pooler turns out to hand out connections by the transaction without keeping track of
   * prepared statements (PgBouncer before 1.21, or with `max_prepared_statements` at 0). Such a pooler's connections
   * outlive ours: a name stands for its text, so that another version of a statement is never run in its place.
   */
  private prepared(client: Pick<PgClient, 'query'>): PgConnection {
    return {
      query: ({ name, text, values }) =>
        new Promise((resolve, reject) => {
          const prepared = name && this.prepares ? this.nameOf(name, text) : undefined;
          // By callback, as a promise of `pg` makes a second one.
          client.query({ name: prepared, text, values }, (error, answer) => {
            if (!error) return resolve(answer);
            if (isMisplaced(error)) this.doWithoutNames();
            reject(error);
          });
        }),
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
      'A pooler in front of PostgreSQL does not keep prepared statements: going on without, so that the server plans each statement again',
    );
  }
}

function isMisplaced(error: unknown): boolean {
  return MISPLACED.has((error as { code?: unknown } | undefined)?.code);
}
