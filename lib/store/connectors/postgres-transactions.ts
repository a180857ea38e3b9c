import { QueryFailedError, type QueryRunner } from 'typeorm';
import type { PgClientInternals, PgWire } from '../../private-names/pg.js';
import { setTransactionState } from '../../private-names/typeorm.js';
import type { PgAnswer, PgConnection } from '../dialects/postgres.js';

type PgStatement = Parameters<PgConnection['query']>[0];

/** What the store needs of a `pg` client. */
interface PgClient extends PgClientInternals {
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

type Done = (error: Error | null, answer: PgAnswer) => void;

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
    const { connection, pipeline } = client as PgClient;
    if (pipeline || !connection?.parse || !connection.parsedStatements) return undefined;
    return new LastStatement(runner, client as PgClient);
  }

  /** Has the signature of `query()` of `pg`. */
  query(statement: PgStatement, done: Done): void {
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

/** A query object of `pg`, like a cursor. `pg` calls `submit` and the methods whose names begin with "handle". */
class ThenCommit implements PgAnswer {
  /** The name by which `pg` remembers that the connection has prepared the statement. */
  readonly name: string | undefined;
  readonly text: string;
  readonly rows: Record<string, unknown>[] = [];
  /** Whether the statement succeeded, and COMMIT is next. */
  isCommitting = false;
  private readonly values: unknown[];

  constructor(
    { name, text, values = [] }: PgStatement,
    /** Public, because `pg` wraps it when the client has a query timeout. */
    readonly callback: (error: Error | null) => void,
  ) {
    this.name = name;
    this.text = text;
    this.values = values;
  }

  submit(wire: PgWire): void {
    const { name, text, values } = this;
    wire.stream.cork?.();
    if (!name || wire.parsedStatements[name] === undefined) wire.parse({ name, text });
    wire.bind({ statement: name, values: values.map(toWire) });
    wire.execute({});
    wire.parse({ text: 'COMMIT' });
    wire.bind({});
    wire.execute({});
    wire.sync();
    wire.stream.uncork?.();
  }

  handleDataRow({ fields }: { readonly fields: readonly unknown[] }): void {
    this.rows.push({ awaited: String(fields[0]) === 't' });
  }

  handleCommandComplete(): void {
    this.isCommitting = true;
  }

  handleError(error: Error): void {
    this.callback(error);
  }

  handleReadyForQuery(): void {
    this.callback(null);
  }
}

/** Converts a value for the protocol: bytes stay bytes, everything else becomes text. */
function toWire(value: unknown): unknown {
  return typeof value === 'number' ? String(value) : value;
}
