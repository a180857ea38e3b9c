import { QueryFailedError, type QueryRunner } from 'typeorm';
import type { PgWire } from '../../private-names/pg.js';
import { setTransactionState } from '../../private-names/typeorm.js';
import type { PgStatement } from '../dialects/postgres.js';
import { type PgDone, PreparedQuery, takesQueryObjects } from './postgres-query.js';

/** What the store needs of a `pg` client. */
interface PgClient {
  query(text: string, done: (error: Error | null) => void): void;
  query(query: ThenCommit): void;
}

/**
 * Begins a transaction as TypeORM does where no subscriber listens, at a fifth of its cost.
 *
 * @param client the query runner's
 * @param firstStatement sent in the same message
 */
export function beginDirectly(runner: QueryRunner, client: unknown, firstStatement: string): Promise<void> {
  const { isolationLevel } = runner.connection.options as { isolationLevel?: string };
  const begin = `START TRANSACTION${isolationLevel ? ` ISOLATION LEVEL ${isolationLevel}` : ''}`;
  // Set before BEGIN is sent, as in TypeORM: any failure from here on is then rolled back.
  setTransactionState(runner, true);
  return send(runner, client, begin, `${begin}; ${firstStatement}`);
}

export async function commitDirectly(runner: QueryRunner, client: unknown): Promise<void> {
  await send(runner, client, 'COMMIT');
  setTransactionState(runner, false);
}

/** @param statement as the application's log and its exception filters see it */
function send(runner: QueryRunner, client: unknown, statement: string, text = statement): Promise<void> {
  const { logger } = runner.connection;
  logger.logQuery(statement, undefined, runner);
  return new Promise((resolve, reject) =>
    (client as PgClient).query(text, (error) => {
      if (error) reject(failed(runner, statement, error));
      else resolve();
    }),
  );
}

/** Logs and returns an error as TypeORM does. A logger that throws would end the process: `pg` calls back while it reads its socket. */
function failed(runner: QueryRunner, statement: string, error: Error): QueryFailedError {
  try {
    runner.connection.logger.logQueryError(error, statement, undefined, runner);
  } catch {
    // The database's error decides what becomes of the operation, and is reported all the same.
  }
  return new QueryFailedError(statement, undefined, error);
}

/**
 * Sends the end of a transaction in one round trip: one statement, and COMMIT if it succeeds. When the statement fails, the
 * server skips the rest of the message (PostgreSQL documentation, "Extended Query"), and the transaction is rolled back.
 */
export class LastStatement {
  /** Whether the server refused the statement, and so did not reach COMMIT. Otherwise it may have committed. */
  isRefused = false;

  private constructor(
    private readonly runner: QueryRunner,
    private readonly client: PgClient,
  ) {}

  /** Returns `undefined` where the client cannot send two statements in one message. */
  static of(runner: QueryRunner, client: unknown): LastStatement | undefined {
    return takesQueryObjects(client as object) ? new LastStatement(runner, client as PgClient) : undefined;
  }

  /** Has the signature of `query()` of `pg`. */
  query(statement: PgStatement, done: PgDone): void {
    const { logger } = this.runner.connection;
    logger.logQuery('COMMIT', undefined, this.runner);
    const query = new ThenCommit(statement, (error) => {
      if (!error) {
        setTransactionState(this.runner, false);
        return done(null, query);
      }
      const isServers = (error as { severity?: unknown }).severity !== undefined;
      this.isRefused = isServers && !query.isCommitting;
      if (!isServers || this.isRefused) return done(error, query);
      done(failed(this.runner, 'COMMIT', error), query);
    });
    this.client.query(query);
  }
}

/** A statement and its COMMIT. */
class ThenCommit extends PreparedQuery {
  /** Whether the statement succeeded, and COMMIT is next. */
  isCommitting = false;

  protected override send(wire: PgWire): void {
    super.send(wire);
    wire.parse({ text: 'COMMIT' });
    wire.bind({});
    wire.execute({});
  }

  override handleCommandComplete(): void {
    this.isCommitting = true;
  }
}
