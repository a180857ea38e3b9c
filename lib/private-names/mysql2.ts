/**
 * Undocumented names of `mysql2` that the library reads, because it offers no count of a pool's connections. Where they are missing,
 * statements do not spill into the application's pool, and idle connections stay open.
 * `test/e2e/module/private-names.e2e-spec.ts` fails when one of these names changes.
 */
export interface Mysql2PoolInternals {
  readonly config?: { connectionLimit: number };
  readonly _freeConnections?: { readonly length: number };
  readonly _allConnections?: { readonly length: number };
}

/** The settings of a connection. A function as `typeCast` gets values that it cannot read from statements that are prepared. */
export interface Mysql2ConnectionInternals {
  readonly config?: { readonly typeCast?: unknown };
}

/** The status flags at the end of every packet. `SERVER_STATUS_IN_TRANS` reveals an implicit commit. */
export interface Mysql2ResultInternals {
  readonly serverStatus?: number;
}
