import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { IDEMPOTENCY_LOCK, IDEMPOTENCY_OPTIONS } from '../../module/idempotency.tokens.js';
import type { RedlockRecordLock } from '../../lock/index.js';
import { settleWithin, TIME_IS_UP } from '../../lock/settle-within.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { NOBODY } from '../../store/dialects/dialect.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import { type StoreFailure, storeFailure } from './store-failure.js';

/** Options of {@link IdempotencyHealthIndicator.isHealthy}. */
export interface IdempotencyHealthOptions {
  /** How long the database may take to answer, in milliseconds. Default: 1000. */
  readonly timeout?: number;
  /**
   * What it means that no quorum of Redis nodes answers. Default: `'degraded'`, as the database alone keeps all
   * guarantees; `'down'` where the module's `onLockUnavailable` is `'reject'`, as every request is then refused.
   */
  readonly withoutLock?: 'degraded' | 'down';
}

/** The details of the store. Durations are milliseconds. */
export type StoreHealth =
  | { readonly status: 'up'; readonly responseTime: number }
  | ({ readonly status: 'down'; readonly responseTime: number } & StoreFailure);

/** The details of the lock in Redis. Durations are milliseconds. */
export interface LockHealth {
  /** `up` with a quorum. */
  readonly status: 'up' | 'degraded' | 'down';
  readonly nodes: number;
  readonly answering: number;
  /** How many nodes have to answer. */
  readonly quorum: number;
  /** Why the others did not: `no answer`, `not connected`, `refused: READONLY`. */
  readonly failures?: readonly string[];
  readonly responseTime: number;
}

/** Whether idempotent operations can be carried out: the store, and the lock where there is one. */
@Injectable()
export class IdempotencyHealthIndicator {
  private asked: Promise<unknown> | undefined;

  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
  ) {}

  /**
   * Asks the database, on the path that requests take, for what a claim needs: the tables of the module, and leave to
   * write to them (nothing is written). Asks each Redis node for a lock, where there are any. Never rejects, and
   * settles within `timeout`.
   *
   * @param key the name in the health check's result
   */
  async isHealthy<Key extends string = 'idempotency'>(
    key = 'idempotency' as Key,
    options: IdempotencyHealthOptions = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const [store, lock] = await Promise.all([this.checkStore(options.timeout ?? 1_000), this.checkLock(options)]);
    const session = this.indicators.check(key);
    const details = { store, ...(lock && { lock }) };
    if (store.status === 'down' || lock?.status === 'down') return session.down(details);
    // Terminus knows of this status from 12.1 on.
    if (lock?.status === 'degraded' && 'degraded' in session) return session.degraded(details);
    return session.up(details);
  }

  private async checkStore(timeoutMs: number): Promise<StoreHealth> {
    const startedAt = performance.now();
    const since = () => Math.round((performance.now() - startedAt) * 10) / 10;
    // One at a time: a database that hangs is not asked by every probe for one more connection of the pool.
    this.asked ??= this.askStore().finally(() => (this.asked = undefined));
    try {
      if ((await settleWithin(this.asked, timeoutMs)) !== TIME_IS_UP) return { status: 'up', responseTime: since() };
      return { status: 'down', responseTime: since(), reason: 'no-answer' };
    } catch (error) {
      return { status: 'down', responseTime: since(), ...storeFailure(error) };
    }
  }

  /** An update that finds no record, and looks at both tables. */
  private async askStore(): Promise<void> {
    const store = this.moduleRef.get(SqlRecordStore, { strict: false });
    await store.markAwaited(NOBODY);
    await store.steps.load(NOBODY);
  }

  private async checkLock(options: IdempotencyHealthOptions): Promise<LockHealth | undefined> {
    const lock = this.moduleRef.get<RedlockRecordLock | undefined>(IDEMPOTENCY_LOCK, { strict: false });
    if (!lock) return undefined;
    const { onLockUnavailable } = this.moduleRef.get<ResolvedModuleOptions>(IDEMPOTENCY_OPTIONS, { strict: false });
    const { withoutLock = onLockUnavailable === 'reject' ? 'down' : 'degraded' } = options;
    const startedAt = performance.now();
    const { nodes, answering, quorum, failures } = await lock.probe();
    return {
      status: answering >= quorum ? 'up' : withoutLock,
      nodes,
      answering,
      quorum,
      ...(failures.length > 0 && { failures }),
      responseTime: Math.round((performance.now() - startedAt) * 10) / 10,
    };
  }
}
