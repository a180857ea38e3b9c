import { createHash } from 'node:crypto';
import type { DataSource, SelectQueryBuilder } from 'typeorm';
import type { ScopeDigest } from '../edges/caller/caller-digests.js';
import type { RecordStatus } from '../engine/ports/record-store.js';
import { storedLabel } from '../engine/stored-text.js';
import { parseRecordId } from '../service/filters.js';
import { neverExpires, RecordView } from '../service/record-view.js';
import { answersOverHttp } from '../service/resolution.js';
import { instantsOf, isPast } from '../store/dialects/clock.js';
import type { IdempotencyRecord } from '../store/entities/index.js';
import { queryOver } from '../store/entity-query.js';
import type { RecordPage, RecordSummary } from './contract.js';
import { DashboardError, invalid } from './dashboard-error.js';

/** The records of one page of the list. */
export interface PageQuery {
  readonly status?: RecordStatus;
  readonly operation?: string;
  readonly scope?: string;
  readonly minAgeMs?: number;
  readonly maxAgeMs?: number;
  readonly order: 'newest' | 'oldest';
  readonly limit: number;
  readonly cursor?: string;
}

interface PageLimits {
  /** The largest table that is sorted by creation, which no index orders. */
  readonly sorted: number;
  /** How many records of a larger table one statement reads. */
  readonly window: number;
  /** How long one request reads further windows, in milliseconds. */
  readonly patienceMs: number;
}

const LIMITS: PageLimits = { sorted: 10_000, window: 5_000, patienceMs: 250 };

/** The columns of a list, without request and response, which may be megabytes. */
const SUMMARY = [
  'id',
  'endpoint',
  'route',
  'status',
  'attempt',
  'token',
  'takenFrom',
  'holdOnCrash',
  'awaited',
  'attemptsLeft',
  'leaseUntil',
  'createdAt',
  'completedAt',
  'expiresAt',
  'retentionMs',
  'responseCode',
] as const satisfies readonly (keyof IdempotencyRecord)[];

type Order = 'createdAt' | 'expiresAt';

interface Position {
  readonly at: string | number;
  readonly id: string;
}

interface Cursor extends Position {
  readonly by: Order;
}

interface Found {
  readonly positions: readonly Position[];
  readonly next: Position | null;
  readonly partial: boolean;
  readonly scanned: number;
}

/** A record, with two facts that depend on the database's clock. */
export interface JudgedRecord {
  readonly record: IdempotencyRecord;
  readonly abandoned: boolean;
  readonly expired: boolean;
}

/**
 * Pages of records by keyset. They count nothing and need no index of their own: an index on the creation would cost every claim.
 *
 * A small table, or the few records of a scope, is sorted by creation. A large table is read along the index on `expires_at`, a bounded
 * number of records a request.
 */
export class RecordPages extends RecordView {
  constructor(
    dataSource: DataSource,
    scopes: ScopeDigest,
    private readonly limits = LIMITS,
  ) {
    super(dataSource, scopes);
  }

  async page(query: PageQuery): Promise<RecordPage> {
    const digests = query.scope === undefined ? undefined : this.scopes.all(query.scope);
    const { sorted } = this.limits;
    const isSmall = (await this.countUpTo(sorted + 1, digests)) <= sorted;
    const by: Order = isSmall ? 'createdAt' : 'expiresAt';
    const from = readCursor(query, by);
    const filters = this.filtersOf(query);
    const parameters = { status: query.status, operation: query.operation && storedLabel(query.operation), digests };
    const walk: Walk = { by, direction: query.order === 'newest' ? 'DESC' : 'ASC', parameters };
    const isSorted = isSmall || filters.length === 0;
    const found = await this[isSorted ? 'sorted' : 'walked'](walk, filters, query.limit, from);
    const records = await this.summaries(found.positions.map(({ id }) => id));
    const sign = query.order === 'newest' ? -1 : 1;
    return {
      records: records.sort((a, b) => sign * (compare(a.createdAt, b.createdAt) || compare(a.id, b.id))),
      cursor: found.next && writeCursor(query, { by, ...found.next }),
      partial: found.partial,
      scanned: found.scanned,
      orderedBy: isSmall ? 'created' : 'expiry',
    };
  }

  /** Returns those of the records that exist, in any order. */
  async summaries(ids: readonly string[]): Promise<RecordSummary[]> {
    if (ids.length === 0) return [];
    const records = await this.judged(this.summary(), ids);
    return records.map(summaryOf);
  }

  /** Returns one record without its content. */
  async brief(id: string): Promise<JudgedRecord | undefined> {
    const [record] = await this.judged(this.summary(), [id]);
    return record;
  }

  /** Returns one record with its content. */
  async whole(id: string): Promise<JudgedRecord | undefined> {
    const [record] = await this.judged(this.query(), [id]);
    return record;
  }

  private summary(): SelectQueryBuilder<IdempotencyRecord> {
    return this.query().select(SUMMARY.map((column) => `r.${column}`));
  }

  private async judged(query: SelectQueryBuilder<IdempotencyRecord>, ids: readonly string[]): Promise<JudgedRecord[]> {
    const judged = await this.judge(query.where('r.id IN (:...ids)', { ids }), {
      leaseExpired: `r.status = 'processing' AND ${this.leaseExpired}`,
      expired: `r.status IN ('done', 'failed') AND ${isPast(this.dataSource, 'r.expiresAt')}`,
    });
    return judged.map(({ record, meets }) => ({
      record,
      abandoned: record.status === 'processing' && meets('leaseExpired'),
      expired: meets('expired'),
    }));
  }

  private async countUpTo(most: number, digests: readonly Buffer[] | undefined): Promise<number> {
    const some = this.query().select('r.id', 'id').limit(most);
    if (digests) some.where('r.scopeDigest IN (:...digests)', { digests });
    const row = await queryOver(this.dataSource, some, 'w')
      .select('COUNT(*)', 'count')
      .getRawOne<{ count: number | string }>();
    return Number(row!.count);
  }

  private async sorted(
    walk: Walk,
    filters: readonly string[],
    limit: number,
    from: Position | undefined,
  ): Promise<Found> {
    const query = this.along(walk, from).limit(limit + 1);
    for (const filter of filters) query.andWhere(filter);
    const found = await query.getRawMany<Position>();
    return { ...cut(found, limit), partial: false, scanned: Math.min(found.length, limit) };
  }

  private async walked(
    walk: Walk,
    filters: readonly string[],
    limit: number,
    from: Position | undefined,
  ): Promise<Found> {
    const found: Position[] = [];
    const { window, patienceMs } = this.limits;
    const giveUpAt = performance.now() + patienceMs;
    for (let scanned = window; ; scanned += window) {
      // The end first: if rows were swept after the other statement, a later end would skip records that it has not read.
      const end = await this.windowEnd(walk, from);
      found.push(...(await this.hits(walk, filters, { from, to: end }, limit + 1 - found.length)));
      if (found.length > limit) return { ...cut(found, limit), partial: false, scanned };
      if (!end || performance.now() >= giveUpAt) {
        return { positions: found, next: end ?? null, partial: end !== undefined, scanned };
      }
      from = end;
    }
  }

  protected async windowEnd(walk: Walk, from: Position | undefined): Promise<Position | undefined> {
    const [end] = await this.along(walk, from)
      .offset(this.limits.window - 1)
      .limit(1)
      .getRawMany<Position>();
    return end;
  }

  /** Returns the records of the next window that match the filters. The subquery bounds the window: filtering first could read the whole table. */
  private hits(
    walk: Walk,
    filters: readonly string[],
    { from, to }: { readonly from?: Position; readonly to?: Position },
    limit: number,
  ): Promise<Position[]> {
    const window = this.along(walk, from)
      // In parentheses, because TypeORM gives a property that is selected twice one name.
      .addSelect(`(r.${walk.by})`, 'place')
      .addSelect(`CASE WHEN ${filters.join(' AND ')} THEN 1 ELSE 0 END`, 'hit')
      .limit(this.limits.window);
    if (to) {
      const at = instantsOf(this.dataSource).from(':toAt');
      const before = walk.direction === 'DESC' ? '>' : '<';
      window
        .andWhere(`r.${walk.by} ${before}= ${at}`)
        .andWhere(`(r.${walk.by} ${before} ${at} OR r.id ${before}= :toId)`)
        .setParameters({ toAt: to.at, toId: to.id });
    }
    return queryOver(this.dataSource, window, 'w')
      .select('w.id', 'id')
      .addSelect('w.at', 'at')
      .where('w.hit = 1')
      .orderBy('w.place', walk.direction)
      .addOrderBy('w.id', walk.direction)
      .limit(limit)
      .getRawMany<Position>();
  }

  /** Selects ids and positions in the order of a walk, after a position. */
  private along(walk: Walk, from: Position | undefined): SelectQueryBuilder<IdempotencyRecord> {
    const query = this.query()
      .select('r.id', 'id')
      .addSelect(instantsOf(this.dataSource).whole(`r.${walk.by}`), 'at')
      .orderBy(`r.${walk.by}`, walk.direction)
      .addOrderBy('r.id', walk.direction)
      .setParameters(walk.parameters);
    if (!from) return query;
    const beyond = walk.direction === 'DESC' ? '<' : '>';
    const at = instantsOf(this.dataSource).from(':at');
    // MySQL enters the index by the first condition, and does not by the second.
    return query
      .where(`r.${walk.by} ${beyond}= ${at}`)
      .andWhere(`(r.${walk.by} ${beyond} ${at} OR r.id ${beyond} :id)`)
      .setParameters({ at: from.at, id: from.id });
  }

  private filtersOf({ status, operation, scope, minAgeMs, maxAgeMs }: PageQuery): string[] {
    const filters: string[] = [];
    if (status) filters.push(this.isFoundAs(status));
    if (operation !== undefined) filters.push('r.endpoint = :operation');
    if (scope !== undefined) filters.push('r.scopeDigest IN (:...digests)');
    if (minAgeMs !== undefined) filters.push(`(${isPast(this.dataSource, 'r.createdAt', -minAgeMs)})`);
    if (maxAgeMs !== undefined) filters.push(`NOT (${isPast(this.dataSource, 'r.createdAt', -maxAgeMs)})`);
    return filters;
  }
}

interface Walk {
  readonly by: Order;
  readonly direction: 'ASC' | 'DESC';
  readonly parameters: Readonly<Record<string, unknown>>;
}

export function summaryOf({ record, abandoned, expired }: JudgedRecord): RecordSummary {
  return {
    id: record.id,
    operation: record.endpoint,
    route: record.route,
    status: record.status,
    abandoned,
    expired,
    attempt: record.attempt,
    token: record.token,
    responseCode: record.responseCode,
    createdAt: record.createdAt.toISOString(),
    leaseUntil: record.leaseUntil.toISOString(),
    completedAt: record.completedAt?.toISOString() ?? null,
    expiresAt: neverExpires(record) ? null : record.expiresAt.toISOString(),
    resolvesWith: answersOverHttp(record) ? 'response' : 'value',
  };
}

/** Compares for a sort, by code units. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function cut(found: readonly Position[], limit: number): Pick<Found, 'positions' | 'next'> {
  const positions = found.slice(0, limit);
  return { positions, next: found.length > limit ? positions[limit - 1] : null };
}

/** Digests the filters of a cursor: with others, its position would skip records. */
function digestOf({ status, operation, scope, minAgeMs, maxAgeMs, order }: PageQuery): string {
  const text = JSON.stringify([status, operation, scope, minAgeMs, maxAgeMs, order]);
  return createHash('sha256').update(text).digest('base64url').slice(0, 12);
}

function writeCursor(query: PageQuery, { by, at, id }: Cursor): string {
  return Buffer.from(JSON.stringify([digestOf(query), by, at, id])).toString('base64url');
}

/** @throws DashboardError for a cursor of other filters, of another order, or one that this class has not written */
function readCursor(query: PageQuery, by: Order): Position | undefined {
  if (query.cursor === undefined) return undefined;
  try {
    const [digest, of, at, id] = JSON.parse(Buffer.from(query.cursor, 'base64url').toString()) as unknown[];
    if (digest === digestOf(query) && of === by && isPlace(at) && typeof id === 'string' && parseRecordId(id) === id)
      return { at, id };
  } catch {
    // Refused below.
  }
  throw new DashboardError('bad-cursor', 'The cursor belongs to other filters, or the table has grown: begin again');
}

/** Milliseconds, or what PostgreSQL writes of a timestamp. */
const TIMESTAMP = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/;

/** An error of the database would be reported as an outage, so a forged position is refused before. */
function isPlace(at: unknown): at is string | number {
  if (typeof at !== 'string') return Number.isSafeInteger(at);
  // Drivers of MySQL and SQLite may return a large number as text.
  return /^\d{1,15}$/.test(at) || (TIMESTAMP.test(at) && !Number.isNaN(Date.parse(at.slice(0, 19))));
}

/** @throws DashboardError for a text that is no record id */
export function recordId(text: unknown): string {
  const id = typeof text === 'string' ? parseRecordId(text) : undefined;
  if (id !== undefined) return id;
  throw invalid('A record id looks like 0f8fad5b-d9cb-469f-a165-70867728950e');
}
