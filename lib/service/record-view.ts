import { type DataSource, In, type SelectQueryBuilder } from 'typeorm';
import type { ScopeDigest } from '../edges/caller/caller-digests.js';
import { MAX_RETENTION_MS } from '../engine/policy.js';
import type { RecordStatus } from '../engine/ports/record-store.js';
import { storedLabel } from '../engine/stored-text.js';
import { instantsOf, isPast } from '../store/dialects/clock.js';
import { LEASE_ROW } from '../store/dialects/dialect.js';
import { IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import { queryOf } from '../store/entity-query.js';
import { checkListOptions, type ListOptions, parseRecordId } from './filters.js';

/** Numbers of the table of records. */
export interface RecordStats {
  /** All records of the table. */
  readonly total: number;
  /** By the state in which a request would find them: `held` includes records whose owner died under `hold`. */
  readonly byStatus: Readonly<Record<RecordStatus, number>>;
  /** Of those in `processing`: records whose lease has run out, which the next request takes over. */
  readonly abandoned: number;
  /** Of those in `failed`: operations with a step that happened, or may have. No retry has finished them, and they do not expire. */
  readonly unfinished: number;
  /** Past their retention, but not yet deleted. */
  readonly expired: number;
  /** Records that expire within the next hour. */
  readonly expiringWithinAnHour: number;
  /** The size of stored requests and responses in bytes, without steps and indexes. */
  readonly storedBytes: number;
  /** When the oldest record was created; `null` in an empty table. */
  readonly oldest: Date | null;
  /** When the oldest held record was created. */
  readonly oldestHeld: Date | null;
}

const HOUR_MS = 3_600_000;

/**
 * Returns whether a record stays until it is completed or deleted. A released record whose steps have run is kept for a thousand years
 * (`endLease` of the dialects), and an operator who reads a date in that year looks for a fault.
 */
export function neverExpires({ status, expiresAt }: Pick<IdempotencyRecord, 'status' | 'expiresAt'>): boolean {
  return status === 'held' || expiresAt.getTime() - Date.now() > MAX_RETENTION_MS / 2;
}

/** Reads the table for operators. A record whose owner died under `hold` is shown as held, as a claim would find it. */
export class RecordView {
  constructor(
    protected readonly dataSource: DataSource,
    protected readonly scopes: ScopeDigest,
  ) {}

  async find(id: string): Promise<IdempotencyRecord | null> {
    const [record] = await this.load(this.query().where({ id }));
    return record ?? null;
  }

  /**
   * @throws TypeError for a filter that does not exist or has a wrong type
   * @throws RangeError for `before` a record that does not exist
   */
  async list(options: ListOptions): Promise<IdempotencyRecord[]> {
    checkListOptions(options);
    const { status, operation, scope, before, limit = 100 } = options;
    const query = this.query().orderBy('r.createdAt', 'DESC').addOrderBy('r.id', 'DESC').limit(limit);
    if (status) query.andWhere(this.isFoundAs(status), { status });
    if (operation !== undefined) query.andWhere({ endpoint: storedLabel(operation) });
    if (scope !== undefined) query.andWhere({ scopeDigest: In(this.scopes.all(scope)) });
    if (typeof before === 'string') await this.beyond(query, parseRecordId(before)!);
    else if (before) query.andWhere('r.createdAt < :before', { before: instantsOf(this.dataSource).parameter(before) });
    return this.load(query);
  }

  /**
   * Leaves out a record and those that the list has before it. Claims of one batch have the same time, and PostgreSQL's has microseconds
   * that a `Date` loses: by the time alone, a page would leave out records that are on no other page.
   */
  private async beyond(query: SelectQueryBuilder<IdempotencyRecord>, id: string): Promise<void> {
    const { whole, from } = instantsOf(this.dataSource);
    const last = await this.query()
      .select(whole('r.createdAt'), 'at')
      .where('r.id = :id', { id })
      .getRawOne<{ at: string | number }>();
    // Without its time, the list would look as if it had ended.
    if (!last) throw new RangeError(`There is no record ${id}`);
    query
      .andWhere(`(r.createdAt < ${from(':at')} OR (r.createdAt = ${from(':at')} AND r.id < :id))`)
      .setParameters({ at: last.at, id });
  }

  async stats(): Promise<RecordStats> {
    const held = this.isFoundAs('held');
    const abandoned = `(r.status = 'processing' AND NOT ${this.isHeldOnCrash} AND ${this.leaseExpired})`;
    const ended = `r.status IN ('done', 'failed')`;
    const expired = isPast(this.dataSource, 'r.expiresAt');
    const counted = {
      processing: `r.status = 'processing' AND NOT ${this.ownerDied}`,
      done: `r.status = 'done'`,
      failed: `r.status = 'failed'`,
      held,
      abandoned,
      unfinished: `r.status = 'failed' AND NOT (${isPast(this.dataSource, 'r.expiresAt', MAX_RETENTION_MS / 2)})`,
      expired: `(${ended} OR ${abandoned}) AND ${expired}`,
      expiring: `${ended} AND ${isPast(this.dataSource, 'r.expiresAt', HOUR_MS)} AND NOT (${expired})`,
    };
    const query = this.query(true).select('COUNT(*)', 'total');
    for (const [name, condition] of Object.entries(counted)) {
      query.addSelect(`SUM(CASE WHEN ${condition} THEN 1 ELSE 0 END)`, name);
    }
    const bytes = ['request', 'responseHead', 'responseBody'].map((column) => `COALESCE(LENGTH(r.${column}), 0)`);
    const age = instantsOf(this.dataSource).since('r.createdAt');
    const row = (await query
      .addSelect(`SUM(${bytes.join(' + ')})`, 'bytes')
      .addSelect(`MAX(${age})`, 'oldest')
      .addSelect(`MAX(CASE WHEN ${held} THEN ${age} END)`, 'oldest_held')
      .getRawOne<Record<string, string | number | null>>())!;
    const number = (name: string) => Number(row[name] ?? 0);
    const ago = (name: string) => (row[name] === null ? null : new Date(Date.now() - number(name)));
    return {
      total: number('total'),
      byStatus: {
        processing: number('processing'),
        done: number('done'),
        failed: number('failed'),
        held: number('held'),
      },
      abandoned: number('abandoned'),
      unfinished: number('unfinished'),
      expired: number('expired'),
      expiringWithinAnHour: number('expiring'),
      storedBytes: number('bytes'),
      oldest: ago('oldest'),
      oldestHeld: ago('oldest_held'),
    };
  }

  protected query(mayLag = false): SelectQueryBuilder<IdempotencyRecord> {
    return queryOf(this.dataSource, IdempotencyRecord, 'r', { mayLag }).setParameters({ yes: true });
  }

  private async load(query: SelectQueryBuilder<IdempotencyRecord>): Promise<IdempotencyRecord[]> {
    return (await this.judge(query, {})).map(({ record }) => record);
  }

  /** Loads records, and says of each which of the conditions it meets, by the clock of the database. */
  protected async judge<Name extends string>(
    query: SelectQueryBuilder<IdempotencyRecord>,
    conditions: Readonly<Record<Name, string>>,
  ): Promise<{ readonly record: IdempotencyRecord; readonly meets: (name: Name) => boolean }[]> {
    for (const [name, condition] of Object.entries<string>({ ...conditions, ownerDied: this.ownerDied })) {
      query.addSelect(`CASE WHEN ${condition} THEN 1 ELSE 0 END`, name);
    }
    const { entities, raw } = await query.getRawAndEntities<Record<Name | 'ownerDied', number | string>>();
    entities.forEach((record, i) => {
      if (Number(raw[i].ownerDied) === 1) record.status = 'held';
    });
    const running = entities.filter(({ status }) => status === 'processing');
    for (const { recordId, token, updatedAt } of await this.leaseRowsOf(running)) {
      const record = running.find(({ id }) => id === recordId)!;
      if (token === record.token && updatedAt > record.leaseUntil) record.leaseUntil = updatedAt;
    }
    return entities.map((record, i) => ({ record, meets: (name) => Number(raw[i][name]) === 1 }));
  }

  private async leaseRowsOf(records: readonly IdempotencyRecord[]): Promise<IdempotencyStep[]> {
    if (records.length === 0) return [];
    const recordId = In(records.map(({ id }) => id));
    return queryOf(this.dataSource, IdempotencyStep, 's').where({ recordId, name: LEASE_ROW }).getMany();
  }

  /** The condition for the state in which a request would find a record. Its parameter is `status`. */
  protected isFoundAs(status: RecordStatus): string {
    if (status === 'held') return `(r.status = 'held' OR ${this.ownerDied})`;
    return status === 'processing' ? `(r.status = :status AND NOT ${this.ownerDied})` : 'r.status = :status';
  }

  /** Records that the next claim will mark as held: their owner died, and no request has come since. */
  private get ownerDied(): string {
    return `(r.status = 'processing' AND ${this.isHeldOnCrash} AND ${this.leaseExpired})`;
  }

  private get isHeldOnCrash(): string {
    return '(r.holdOnCrash = :yes)';
  }

  /** The lease of a transactional operation may be renewed in a row of its own: see the PostgreSQL dialect. */
  protected get leaseExpired(): string {
    const renewed = queryOf(this.dataSource, IdempotencyStep, 's')
      .select('1')
      .where(`s.recordId = r.id AND s.name = '${LEASE_ROW}' AND s.token = r.token`)
      .andWhere(`NOT (${isPast(this.dataSource, 's.updatedAt')})`);
    return `(${isPast(this.dataSource, 'r.leaseUntil')} AND NOT EXISTS (${renewed.getQuery()}))`;
  }
}
