/** Undocumented names of `pg` that the library uses. `test/e2e/module/private-names.e2e-spec.ts` fails when one of them changes. */

/** Messages of PostgreSQL's extended query protocol, which `pg` offers to cursors. They send a statement and its COMMIT in one packet. */
export interface PgWire {
  /** The statements that the connection has prepared, by name. */
  readonly parsedStatements: Readonly<Record<string, string>>;
  readonly stream: { cork?(): void; uncork?(): void };
  parse(statement: { name?: string; text: string }): void;
  bind(portal: { statement?: string; values?: unknown[] }): void;
  execute(portal: object): void;
  sync(): void;
}

export interface PgClientInternals {
  /** Absent in `pg-native`. */
  readonly connection?: Partial<PgWire>;
  /** Whether the client is in pipeline mode, in which it accepts only its own queries. */
  readonly pipeline?: boolean;
}

/** What the store needs to open connections of its own like those of the application's pool. */
export interface PgPoolInternals<Client> {
  readonly Client: Client;
  /** Absent in objects that only resemble a pool. `password` is not enumerable. */
  readonly options?: { readonly password?: unknown; readonly connectionTimeoutMillis?: number; max?: number };
}

/** Returns whether a client is `pg-native`'s, which hands parameters on as C strings: bytes would be cut or refused. */
export function isNative(client: object): boolean {
  return 'native' in client;
}

/** A client that {@link cancelStatement} uses or cancels. */
export interface PgCancelInternals {
  readonly host?: string;
  readonly port?: number;
  /** The numbers by which the server knows a session that may be cancelled. */
  readonly processID?: unknown;
  readonly secretKey?: unknown;
  /** Cannot cancel in `pg-native`, and in what only resembles a client. */
  readonly connection?: {
    readonly stream?: { unref?(): void };
    connect?(port: number | string | undefined, host?: string): void;
    cancel?(processID: unknown, secretKey: unknown): void;
    on(event: 'connect' | 'error', listener: () => void): void;
  };
}

/**
 * Asks the server to cancel the statement of a client. This takes a connection of its own, on which no other message is sent.
 *
 * @param by a new client with the same settings, which is not connected
 */
export function cancelStatement({ processID, secretKey }: PgCancelInternals, by: PgCancelInternals): void {
  const { connection, host, port } = by;
  if (!connection?.connect || !connection.cancel) return;
  connection.on('error', () => undefined);
  connection.on('connect', () => connection.cancel!(processID, secretKey));
  if (host?.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`);
  else connection.connect(port, host);
  connection.stream?.unref?.();
}

/** A client that {@link cutConnection} cuts off. */
export interface PgSocketInternals {
  /** Absent in `pg-native`. */
  readonly connection?: { readonly stream?: { destroy?(): void } };
}

/** Closes a client's connection at once. `end()` waits for the server to close it, which one that is silent never does. */
export function cutConnection({ connection }: PgSocketInternals): void {
  connection?.stream?.destroy?.();
}

/** What the server says after each statement about the session's transaction. */
export interface PgSession {
  status?: string;
}

/** The status of a session with an open transaction. */
export const IN_TRANSACTION = 'T';

const sessions = new WeakMap<object, PgSession>();

/** Returns a client's session, whose status is known once a statement has ended. It stays unknown in `pg-native`. */
export function sessionOf(client: object): PgSession {
  let session = sessions.get(client);
  if (session) return session;
  const known: PgSession = (session = {});
  sessions.set(client, session);
  const { connection } = client as {
    connection?: { prependListener?(event: 'readyForQuery', listener: (message?: { status?: string }) => void): void };
  };
  // Before the client's own listener, which calls back.
  connection?.prependListener?.('readyForQuery', (message) => (known.status = message?.status));
  return session;
}
