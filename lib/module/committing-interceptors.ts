import { IS_OURS, wiredInterceptors } from '../handlers/marking.js';
import type { Route } from '../handlers/routes.js';
import { methodSource } from './method-source.js';

/** Calls that end a transaction: of TypeORM, Prisma, Knex, MikroORM, Mongoose, transaction hosts, and helpers such as `runInTransaction()`. */
const COMMITS =
  /\.\s*(?:commit|\$?transaction|transactional)\s*\(|\b(?:commit|with|run|make|execute|do|in)\w*Transaction\)?\s*\(|\b(?:em|entityManager)\s*\.\s*flush\s*\(/;

/**
 * Returns the names of a handler's interceptors that commit a transaction, as far as their source shows it. Such a COMMIT follows the
 * handler. If it fails, the library frees the key where it sees the rollback: over HTTP, in a transaction of TypeORM. Everywhere else the
 * record says that the operation is done, and no retry writes what was rolled back.
 *
 * @param globals the application's global interceptors, or their classes
 */
export function committingInterceptors({ controller, handler }: Route, globals: readonly object[]): string[] {
  const all = [...globals, ...wiredInterceptors(controller, handler)];
  const classes = all.map((one) => (typeof one === 'function' ? one : one.constructor));
  return [...new Set(classes)].filter(commits).map(({ name }) => name);
}

function commits(interceptor: { readonly prototype?: unknown }): boolean {
  const { prototype } = interceptor;
  if (IS_OURS in interceptor || typeof prototype !== 'object' || prototype === null) return false;
  return COMMITS.test(methodSource(prototype, 'intercept') ?? '');
}
