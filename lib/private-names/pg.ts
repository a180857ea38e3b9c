/**
 * What the library uses of `pg` that `pg` does not document. `test/e2e/module/private-names.e2e-spec.ts` fails when one of these
 * names changes.
 */

/** The messages of PostgreSQL's extended query protocol, as `pg` offers them to cursors: a statement and its COMMIT, in one packet. */
export interface PgWire {
  /** What the connection has prepared, by name. */
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
  /** Of a client in this mode, which takes no queries but its own. */
  readonly pipeline?: boolean;
}

/** By these, a pool of the store's own has the connections that the application's pool has. */
export interface PgPoolInternals<Client> {
  readonly Client: Client;
  /** `password` is there, but not enumerable. Absent in what only resembles a pool. */
  readonly options?: { readonly password?: unknown; readonly connectionTimeoutMillis?: number; max?: number };
}
