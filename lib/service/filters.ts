/** A filter that is misspelt or missing is an error: a list, or a deletion, of more than was meant. */
import type { RecordStatus } from '../engine/ports/record-store.js';

/** Which records `IdempotencyService.list()` shows. */
export interface ListOptions {
  /** As a request with this key would find the record: `held` includes those whose owner died under `hold`. */
  readonly status?: RecordStatus;
  /** The method and the route template, as in `POST /payments`, or the name of the operation. */
  readonly operation?: string;
  /**
   * The tenant or principal: what `request.user` has as its id, or what the option `scope` returns. Records from before the
   * migration `KeepRouteAndScope` have no scope to be found by.
   */
  readonly scope?: string;
  /** Only records created before this time: for paging, as the newest come first. */
  readonly before?: Date;
  /** Default: 100. */
  readonly limit?: number;
}

const STATUSES: readonly RecordStatus[] = ['processing', 'done', 'failed', 'held'];

const LIST_FILTERS = [
  'status',
  'operation',
  'scope',
  'before',
  'limit',
] as const satisfies readonly (keyof ListOptions)[];

/** @throws TypeError for what is no object of these members alone */
export function checkFilters(method: string, filters: unknown, known: readonly string[]): void {
  const names = known.map((name) => `\`${name}\``).join(', ');
  if (typeof filters !== 'object' || filters === null || Array.isArray(filters)) {
    throw new TypeError(`IdempotencyService.${method}() takes an object of ${names}`);
  }
  const unknown = Object.keys(filters).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TypeError(`IdempotencyService.${method}() has no \`${unknown}\`; there are ${names}`);
}

/** @throws TypeError for a scope that is missing: that of a user who is not there would be everybody's */
export function scopeFilter(method: string, scope: unknown): string {
  if (typeof scope === 'string' && scope !== '') return scope;
  throw new TypeError(`IdempotencyService.${method}() takes \`scope\` as a string that is not empty`);
}

/** @throws TypeError naming the filter */
export function checkListOptions(options: ListOptions): void {
  checkFilters('list', options, LIST_FILTERS);
  // `scope: undefined` is a user without an id, not a wish to see the records of all.
  if ('scope' in options) scopeFilter('list', options.scope);
  const { status, operation, before, limit } = options;
  const wrong = (name: string, what: string) => new TypeError(`IdempotencyService.list() takes \`${name}\` as ${what}`);
  if (status !== undefined && !STATUSES.includes(status)) throw wrong('status', `one of ${STATUSES.join(', ')}`);
  if (operation !== undefined && (typeof operation !== 'string' || operation === '')) {
    throw wrong('operation', 'a string that is not empty');
  }
  if (before !== undefined && !(before instanceof Date && !Number.isNaN(before.getTime()))) {
    throw wrong('before', 'a Date');
  }
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw wrong('limit', 'a whole number above zero');
  }
}
