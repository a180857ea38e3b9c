import type { DataSource, SelectQueryBuilder } from 'typeorm';
import { readFromPrimary } from '../private-names/typeorm.js';
import { initialized } from './data-source.js';
import type { IdempotencyRecord, IdempotencyStep } from './entities/index.js';
import { wholePathOf } from './table-path.js';

interface QuerySettings {
  /** Whether a replica may answer, from a moment ago. Default: false, because callers take a missing record for an operation that never ran. */
  readonly mayLag?: boolean;
}

/**
 * Returns a query of one of our tables, for operators. It reads the table that the store writes, wherever handlers have moved the
 * connection, and never from TypeORM's cache.
 */
export function queryOf<Entity extends IdempotencyRecord | IdempotencyStep>(
  dataSource: DataSource,
  entity: (new () => Entity) & (typeof IdempotencyRecord | typeof IdempotencyStep),
  alias: string,
  { mayLag = false }: QuerySettings = {},
): SelectQueryBuilder<Entity> {
  const query = initialized(dataSource).createQueryBuilder<Entity>(entity, alias);
  // Subscribers of all entities expect the application's own.
  query.callListeners(false).cache(false);
  query.expressionMap.mainAlias!.tablePath = wholePathOf(dataSource, entity);
  return mayLag ? query : readFromPrimary(query);
}

/** Returns a query of the results of another one. */
export function queryOver(dataSource: DataSource, inner: SelectQueryBuilder<object>, alias: string) {
  const query = dataSource.createQueryBuilder().from<object>(`(${inner.getQuery()})`, alias).cache(false);
  return readFromPrimary(query).setParameters(inner.getParameters());
}
