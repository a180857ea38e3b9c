import { isNative, type PgClientInternals, type PgWire } from '../../private-names/pg.js';
import type { PgAnswer, PgStatement } from '../dialects/postgres.js';

export type PgDone = (error: Error | null, answer: PgAnswer) => void;

/** Returns whether a client takes query objects that send messages of the protocol, such as {@link PreparedQuery}. */
export function takesQueryObjects(client: object): client is { query(query: PreparedQuery): void } {
  const { connection, pipeline } = client as PgClientInternals;
  return !pipeline && !isNative(client) && connection?.parse !== undefined && connection.parsedStatements !== undefined;
}

/**
 * A query object of `pg`, like a cursor. `pg` calls `submit` and the methods whose names begin with "handle".
 *
 * Unlike a query of `pg` itself, it does not have the server describe the columns: their names are known, and their values stay text.
 * With few rows, that is half of the time that `pg` takes in the application.
 */
export class PreparedQuery implements PgAnswer {
  /** The name by which `pg` remembers that the connection has prepared the statement. */
  readonly name: string | undefined;
  readonly text: string;
  readonly rows: Record<string, unknown>[] = [];
  private readonly values: readonly unknown[];
  private readonly columns: readonly string[];

  constructor(
    { name, text, values = [], columns = [] }: PgStatement,
    /** Public, because `pg` wraps it when the client has a query timeout. */
    readonly callback: PgDone,
  ) {
    this.name = name;
    this.text = text;
    this.values = values;
    this.columns = columns;
  }

  submit(wire: PgWire): void {
    wire.stream.cork?.();
    this.send(wire);
    wire.sync();
    wire.stream.uncork?.();
  }

  protected send(wire: PgWire): void {
    const { name, text, values } = this;
    if (!name || wire.parsedStatements[name] === undefined) wire.parse({ name, text });
    wire.bind({ statement: name, values: values.map(toWire) });
    wire.execute({});
  }

  handleDataRow({ fields }: { readonly fields: readonly unknown[] }): void {
    const row: Record<string, unknown> = {};
    for (let i = 0; i < this.columns.length; i++) row[this.columns[i]] = fields[i];
    this.rows.push(row);
  }

  handleCommandComplete(): void {
    // The end of the message counts.
  }

  handleError(error: Error): void {
    this.callback(error, this);
  }

  handleReadyForQuery(): void {
    this.callback(null, this);
  }
}

/** Converts a value for the protocol: bytes stay bytes, everything else becomes text. */
function toWire(value: unknown): unknown {
  return typeof value === 'number' ? String(value) : value;
}
