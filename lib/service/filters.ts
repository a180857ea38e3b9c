import type { RecordStatus } from '../engine/ports/record-store.js';

/** Filters of `IdempotencyService.list()`. */
export interface ListOptions {
  /** The state in which a request would find the record. `held` includes records whose owner died under `hold`. Default: any. */
  readonly status?: RecordStatus;
  /** What a record has as its `endpoint`: the method and the route template, as in `POST /payments`, or the option `operation`. Default: any. */
  readonly operation?: string;
  /**
   * The tenant or principal: the id in `request.user`, or the result of the option `scope`. Finds no records from before the migration
   * `KeepRouteAndScope`. Default: any.
   */
  readonly scope?: string;
  /**
   * Only records older than this one: the id of the last record of the page before. Or only those created before a time, which leaves out
   * records of the same millisecond. Default: any.
   */
  readonly before?: string | Date;
  /** Default: 100. */
  readonly limit?: number;
}

export const STATUSES: readonly RecordStatus[] = ['processing', 'done', 'failed', 'held'];

const FILTERS = ['status', 'operation', 'scope', 'before', 'limit'] as const satisfies readonly (keyof ListOptions)[];

/** @throws TypeError for an unknown filter: a misspelt one would list or delete every record */
export function checkFilters(method: string, filters: unknown, known: readonly string[]): void {
  const names = known.map((name) => `\`${name}\``).join(', ');
  if (typeof filters !== 'object' || filters === null || Array.isArray(filters)) {
    throw new TypeError(`IdempotencyService.${method}() takes an object of ${names}`);
  }
  const unknown = Object.keys(filters).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TypeError(`IdempotencyService.${method}() has no \`${unknown}\`; there are ${names}`);
}

/** @throws TypeError for a missing scope: that of a user without an id would match the records of all users */
export function scopeFilter(method: string, scope: unknown): string {
  if (typeof scope === 'string' && scope !== '') return scope;
  throw new TypeError(`IdempotencyService.${method}() takes \`scope\` as a string that is not empty`);
}

/** @throws TypeError naming the filter */
export function checkListOptions(options: ListOptions): void {
  checkFilters('list', options, FILTERS);
  // An explicit `scope: undefined` comes from a user without an id.
  if ('scope' in options) scopeFilter('list', options.scope);
  const { status, operation, before, limit } = options;
  const wrong = (name: string, what: string) => new TypeError(`IdempotencyService.list() takes \`${name}\` as ${what}`);
  if (status !== undefined && !STATUSES.includes(status)) throw wrong('status', `one of ${STATUSES.join(', ')}`);
  if (operation !== undefined && (typeof operation !== 'string' || operation === '')) {
    throw wrong('operation', 'a string that is not empty');
  }
  if (before !== undefined && !(typeof before === 'string' ? parseRecordId(before) !== undefined : isTime(before))) {
    throw wrong('before', 'the id of a record, or a Date');
  }
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw wrong('limit', 'a whole number above zero');
  }
}

function isTime(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime());
}

/** @returns the id in lower case; `undefined` for a text that is no record id */
export function parseRecordId(text: string): string | undefined {
  const id = text.toLowerCase();
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) ? id : undefined;
}
