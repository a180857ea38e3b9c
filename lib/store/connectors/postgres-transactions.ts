import { QueryFailedError, type QueryRunner } from 'typeorm';
import type { PgClientInternals, PgWire } from '../../private-names/pg.js';
import { setTransactionState } from '../../private-names/typeorm.js';
import type { PgAnswer, PgConnection } from '../dialects/postgres.js';

type PgStatement = Parameters<PgConnection['query']>[0];

/** What we use of a `pg` client. */
interface PgClient extends PgClientInternals {
  query(text: string, done: (error: Error | null) => void): void;
  query(query: ThenCommit): void;
}

/**
 * Begins a transaction as TypeORM does where no subscriber listens, at a fifth of its cost.
 *
 * @param client the query runner's
 * @param firstStatement sent by the same message
 */
export function beginDirectly(runner: QueryRunner, client: unknown, firstStatement: string): Promise<void> {
  const { isolationLevel } = runner.connection.options as { isolationLevel?: string };
  const begin = `START TRANSACTION${isolationLevel ? ` ISOLATION LEVEL ${isolationLevel}` : ''}`;
  // Before it is sent, as in TypeORM: whatever fails from here on is rolled back.
  setTransactionState(runner, true);
  return send(runner, client, begin, `${begin}; ${firstStatement}`);
}

export async function commitDirectly(runner: QueryRunner, client: unknown): Promise<void> {
  await send(runner, client, 'COMMIT');
  setTransactionState(runner, false);
}

/** @param statement as the application's log and its exception filters get it */
function send(runner: QueryRunner, client: unknown, statement: string, text = statement): Promise<void> {
  const { logger } = runner.connection;
  logger.logQuery(statement, undefined, runner);
  return new Promise((resolve, reject) =>
    (client as PgClient).query(text, (error) => {
      if (!error) return resolve();
      logger.logQueryError(error, statement, undefined, runner);
      reject(new QueryFailedError(statement, undefined, error));
    }),
  );
}

type Done = (error: Error | null, answer: PgAnswer) => void;

/**
 * Sends the end of a transaction: one statement, and COMMIT where it succeeds, in one round trip. The server skips what follows
 * a statement that failed, and the transaction can only be rolled back.
 */
export class LastStatement {
  /** Whether the server refused the statement: COMMIT was not reached then, and otherwise may have been. */
  isRefused = false;

  private constructor(
    private readonly runner: QueryRunner,
    private readonly client: PgClient,
  ) {}

  /** @returns `undefined` where the client sends one statement at a time */
  static of(runner: QueryRunner, client: unknown): LastStatement | undefined {
    const { connection, pipeline } = client as PgClient;
    if (pipeline || !connection?.parse || !connection.parsedStatements) return undefined;
    return new LastStatement(runner, client as PgClient);
  }

  /** As that of `pg`'s clients. */
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
      logger.logQueryError(error, 'COMMIT', undefined, this.runner);
      done(new QueryFailedError('COMMIT', undefined, error), query);
    });
    this.client.query(query);
  }
}

/** What `pg` takes as a query of its own, as it takes a cursor. It calls the methods whose names begin with "handle". */
class ThenCommit implements PgAnswer {
  /** By which `pg` remembers that the connection has prepared it. */
  readonly name: string | undefined;
  readonly text: string;
  readonly rows: Record<string, unknown>[] = [];
  /** Whether the statement succeeded, and COMMIT comes next. */
  isCommitting = false;
  private readonly values: unknown[];

  constructor(
    { name, text, values = [] }: PgStatement,
    /** `pg` puts its own in front of it where it has a time limit. */
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

/** As the protocol has it: bytes as they are, everything else as text. */
function toWire(value: unknown): unknown {
  return typeof value === 'number' ? String(value) : value;
}
