/**
 * What the library uses of `mysql2` that `mysql2` does not document: it offers no count of a pool's connections. Where these are
 * missing, statements do not spill into the application's pool, and idle connections stay open.
 * `test/e2e/module/private-names.e2e-spec.ts` fails when one of these names changes.
 */
export interface Mysql2PoolInternals {
  readonly config?: { connectionLimit: number };
  readonly _freeConnections?: { readonly length: number };
  readonly _allConnections?: { readonly length: number };
}

/** The status flags that every packet of the server ends with. By `SERVER_STATUS_IN_TRANS` an implicit commit is noticed. */
export interface Mysql2ResultInternals {
  readonly serverStatus?: number;
}
