import { type EntityManager, In, type ObjectLiteral } from 'typeorm';
import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import {
  type CompletionRow,
  type Dialect,
  type LetGo,
  NOBODY,
  NOT_HELD,
  type RecordRow,
  type StepRow,
} from './dialect.js';

export interface PortableSettings {
  /** The database's clock as an expression: milliseconds since 1970. */
  readonly now: string;
  /** How the database writes a boolean. */
  readonly no: 'false' | '0';
  /** Whether a transaction of ours is one, or there is a single connection for everybody. */
  readonly transactions: boolean;
  readonly escape: (name: string) => string;
}

/** A claim that met so many others has lost to each of them in turn. */
const MOST_ROUNDS = 50;

/** A record, and how its times stand to the database's clock: milliseconds from now. */
interface Standing {
  readonly record: IdempotencyRecord;
  readonly leaseLeft: number;
  readonly expiresLeft: number;
}

/**
 * Statements that any SQL database understands, written by TypeORM: an insert whose duplicate is caught, and updates
 * that say what they expect to find. They take more round trips than the others, and decide as they do.
 */
export class PortableDialect implements Dialect<EntityManager> {
  readonly name = 'portable';
  readonly batches = false;

  private readonly expired: string;
  private readonly unknown: string;
  private readonly lapsed: string;

  constructor(private readonly settings: PortableSettings) {
    const { now, no, escape } = settings;
    const status = escape('status');
    const hold = escape('hold_on_crash');
    this.lapsed = `${escape('lease_until')} <= ${now}`;
    this.expired = `${escape('expires_at')} <= ${now} AND (${status} IN ('done', 'failed')
      OR (${status} = 'processing' AND ${hold} = ${no} AND ${this.lapsed}))`;
    this.unknown = `(${status} = 'held' OR (${status} = 'processing' AND ${hold} <> ${no} AND ${this.lapsed}))`;
  }

  async claim(on: EntityManager, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    return Promise.all(claims.map((claim) => this.claimOne(on, claim)));
  }

  /** Looks and writes until what it sees either stands or is its own doing. */
  private async claimOne(on: EntityManager, claim: Claim): Promise<RecordRow> {
    for (let round = 0; round < MOST_ROUNDS; round++) {
      const standing = await this.look(on, claim.recordId);
      if (!standing) {
        await this.insert(on, claim);
        continue;
      }
      const move = moveOf(standing, claim);
      const isOurDoing = round > 0 && standing.record.owner === claim.owner;
      if (move === 'stand' || isOurDoing) return toRow(standing);
      await this.move(on, standing.record, claim, move);
    }
    throw new Error('too many others claim this record');
  }

  private async insert(on: EntityManager, claim: Claim): Promise<void> {
    const values = {
      ...this.claimed(claim),
      id: claim.recordId,
      token: 1,
      attempt: 1,
      createdAt: this.after(0),
    };
    try {
      await on.createQueryBuilder().insert().into(IdempotencyRecord).values(values).updateEntity(false).execute();
    } catch (error) {
      // Databases name a duplicate in their own ways: a row that is there now says the same.
      if (!(await this.look(on, claim.recordId))) throw error;
    }
  }

  private async move(
    on: EntityManager,
    record: IdempotencyRecord,
    claim: Claim,
    move: 'restart' | 'take' | 'hold',
  ): Promise<void> {
    const { id, owner, token, status } = record;
    const taken = {
      ...this.claimed(claim),
      token: token + 1,
      attempt: move === 'restart' ? 1 : record.attempt + 1,
      takenFrom: status,
      completedAt: null,
      responseCode: null,
      responseHead: null,
      responseBody: null,
      ...(move === 'restart' && { createdAt: this.after(0) }),
    };
    const update = this.update(on, move === 'hold' ? { status: 'held' } : taken).where({ id, owner, token, status });
    if (status === 'processing') update.andWhere(this.lapsed);
    await update.execute();
  }

  private claimed(claim: Claim) {
    return {
      owner: claim.owner,
      endpoint: claim.endpoint,
      fingerprint: claim.fingerprint,
      binding: claim.binding,
      request: claim.request,
      status: 'processing' as const,
      holdOnCrash: claim.holdOnCrash,
      awaited: false,
      leaseUntil: this.after(claim.leaseMs),
      expiresAt: this.after(claim.retentionMs),
    };
  }

  async read(on: EntityManager, recordId: string): Promise<RecordRow | undefined> {
    const standing = await this.look(on, recordId);
    const { status } = standing?.record ?? {};
    const isGone = standing && standing.expiresLeft <= 0 && (status === 'done' || status === 'failed');
    return standing && !isGone ? toRow(standing) : undefined;
  }

  private async look(on: EntityManager, recordId: string): Promise<Standing | undefined> {
    const { now } = this.settings;
    const { entities, raw } = await on
      .createQueryBuilder(IdempotencyRecord, 'r')
      .addSelect(`r.leaseUntil - ${now}`, 'lease_left')
      .addSelect(`r.expiresAt - ${now}`, 'expires_left')
      .where({ id: recordId })
      .getRawAndEntities<{ lease_left: unknown; expires_left: unknown }>();
    if (entities.length === 0) return undefined;
    return { record: entities[0], leaseLeft: Number(raw[0].lease_left), expiresLeft: Number(raw[0].expires_left) };
  }

  async complete(on: EntityManager, completions: readonly CompletionRow[]): Promise<ReadonlyMap<string, FencedAnswer>> {
    const answers = new Map<string, FencedAnswer>();
    for (const row of completions) {
      answers.set(row.recordId, await this.write(on, row, { ...this.outcome(row), status: 'done' }));
    }
    return answers;
  }

  private outcome(completion: Omit<CompletionRow, keyof Ownership>) {
    return {
      responseCode: completion.code,
      responseHead: completion.head,
      responseBody: completion.body,
      completedAt: this.after(0),
      expiresAt: this.after(completion.retentionMs),
    };
  }

  letGo(on: EntityManager, ownership: Ownership, status: LetGo): Promise<FencedAnswer> {
    return this.write(on, ownership, { status, leaseUntil: this.after(0) });
  }

  async discard(on: EntityManager, ownership: Ownership): Promise<FencedAnswer> {
    const { recordId } = ownership;
    const deleted = await this.together(on, async (tx) => {
      const gone = await tx
        .createQueryBuilder()
        .delete()
        .from(IdempotencyRecord)
        .where({ ...owned(ownership), attempt: 1 })
        .execute();
      // The steps are those of an operation that had expired.
      if (gone.affected) await tx.delete(IdempotencyStep, { recordId });
      return gone.affected;
    });
    return deleted ? { held: true, awaited: true } : this.letGo(on, ownership, 'failed');
  }

  renew(on: EntityManager, ownership: Ownership, leaseMs: number): Promise<FencedAnswer> {
    return this.write(on, ownership, { leaseUntil: this.after(leaseMs) });
  }

  async markAwaited(on: EntityManager, recordId: string): Promise<void> {
    await this.update(on, { awaited: true }).where({ id: recordId, status: 'processing', awaited: false }).execute();
  }

  async loadSteps(on: EntityManager, recordId: string): Promise<readonly StepRow[]> {
    const record = await on.findOneBy(IdempotencyRecord, { id: recordId });
    if (!record) return [];
    const steps = await on.findBy(IdempotencyStep, { recordId });
    // Tokens and attempts grow together, so this leaves out the steps of an operation that expired.
    return steps.filter((step) => step.token > record.token - record.attempt);
  }

  putStep(on: EntityManager, ownership: Ownership, { name, status, result }: StepRow): Promise<FencedAnswer> {
    const { recordId, token } = ownership;
    const values = { status, token, result, updatedAt: this.after(0) };
    return this.together(on, async (tx) => {
      // Holds the record until the step is written.
      const { affected } = await this.update(tx, { token }).where(owned(ownership)).execute();
      if (!affected) return NOT_HELD;
      const updated = await tx.update(IdempotencyStep, { recordId, name }, values);
      if (!updated.affected) {
        const row = { ...values, recordId, name };
        await tx.createQueryBuilder().insert().into(IdempotencyStep).values(row).updateEntity(false).execute();
      }
      return { held: true, awaited: false };
    });
  }

  async resolveHeld(
    on: EntityManager,
    recordId: string,
    completion: Omit<CompletionRow, keyof Ownership> | null,
  ): Promise<boolean> {
    const values = completion ? { ...this.outcome(completion), status: 'done', owner: NOBODY } : { status: 'failed' };
    return this.together(on, async (tx) => {
      const { affected } = await this.update(tx, values).where({ id: recordId }).andWhere(this.unknown).execute();
      if (!completion && affected) {
        await tx.update(IdempotencyStep, { recordId, status: 'begun' }, { status: 'failed' });
      }
      return Boolean(affected);
    });
  }

  forget(on: EntityManager, recordId: string): Promise<boolean> {
    return this.together(on, async (tx) => {
      const { affected } = await tx.delete(IdempotencyRecord, { id: recordId });
      await tx.delete(IdempotencyStep, { recordId });
      return Boolean(affected);
    });
  }

  async sweep(on: EntityManager, limit: number): Promise<number> {
    const doomed = await on
      .createQueryBuilder(IdempotencyRecord, 'r')
      .select('r.id')
      .where(this.expired)
      .take(limit)
      .getMany();
    const ids = doomed.map((record) => record.id).sort();
    if (ids.length === 0) return 0;
    return this.together(on, async (tx) => {
      const gone = await tx
        .createQueryBuilder()
        .delete()
        .from(IdempotencyRecord)
        .where({ id: In(ids) })
        .andWhere(this.expired)
        .execute();
      const left = await tx.findBy(IdempotencyRecord, { id: In(ids) });
      const kept = new Set(left.map((record) => record.id));
      const deleted = ids.filter((id) => !kept.has(id));
      if (deleted.length) await tx.delete(IdempotencyStep, { recordId: In(deleted) });
      return gone.affected ?? 0;
    });
  }

  /** A fenced write: nothing of the record changes unless `ownership` holds it. */
  private async write(on: EntityManager, ownership: Ownership, values: ObjectLiteral): Promise<FencedAnswer> {
    const { affected } = await this.update(on, values).where(owned(ownership)).execute();
    if (!affected) return NOT_HELD;
    const record = await on.findOneBy(IdempotencyRecord, { id: ownership.recordId });
    // Who owns it now was perhaps not told of those that waited for the former owner.
    const isOurs = record?.owner === ownership.owner && record.token === ownership.token;
    return { held: true, awaited: isOurs ? record.awaited : true };
  }

  private update(on: EntityManager, values: ObjectLiteral) {
    return on.createQueryBuilder().update(IdempotencyRecord).set(values).updateEntity(false);
  }

  private together<T>(on: EntityManager, work: (on: EntityManager) => Promise<T>): Promise<T> {
    const isInside = on.queryRunner?.isTransactionActive ?? false;
    return this.settings.transactions && !isInside ? on.transaction('READ COMMITTED', work) : work(on);
  }

  /** A number is written out, as drivers guess a parameter's type from its size. */
  private after(ms: number): () => string {
    return () => `${this.settings.now} + ${Math.round(ms)}`;
  }
}

function moveOf({ record, leaseLeft, expiresLeft }: Standing, claim: Claim): 'restart' | 'take' | 'hold' | 'stand' {
  const { status, holdOnCrash } = record;
  const isLapsed = status === 'processing' && leaseLeft <= 0;
  const isOver = status === 'done' || status === 'failed' || (isLapsed && !holdOnCrash);
  if (expiresLeft <= 0 && isOver) return 'restart';
  if (!isSame(record.fingerprint, claim.fingerprint) || !isSame(record.binding, claim.binding)) return 'stand';
  if (status === 'failed') return 'take';
  if (!isLapsed) return 'stand';
  return holdOnCrash || claim.holdOnCrash ? 'hold' : 'take';
}

function isSame(one: Buffer | null, other: Buffer | null): boolean {
  return one && other ? one.equals(other) : one === other;
}

function owned({ recordId, owner, token }: Ownership) {
  return { id: recordId, owner, token, status: 'processing' as const };
}

function toRow({ record, leaseLeft }: Standing): RecordRow {
  return {
    recordId: record.id,
    owner: record.owner,
    status: record.status,
    token: record.token,
    attempt: record.attempt,
    takenFrom: record.takenFrom,
    fingerprint: record.fingerprint,
    binding: record.binding,
    leaseLeftMs: leaseLeft,
    code: record.responseCode,
    head: record.responseHead,
    body: record.responseBody,
  };
}
