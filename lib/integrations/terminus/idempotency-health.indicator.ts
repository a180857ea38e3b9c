import { Inject, Injectable } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import { IDEMPOTENCY_LOCK, IDEMPOTENCY_OPTIONS } from '../../module/idempotency.tokens.js';
import type { RedlockRecordLock } from '../../lock/redlock-record-lock.js';
import { settleWithin, TIME_IS_UP } from '../../engine/settle-within.js';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { NO_OWNER } from '../../store/dialects/dialect.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import { type StoreFailure, storeFailure } from './store-failure.js';

/** Options of {@link IdempotencyHealthIndicator.isHealthy}. */
export interface IdempotencyHealthOptions {
  /** How long the database may take to answer, in milliseconds. Default: 1000. */
  readonly timeout?: number;
  /**
   * The status without a quorum of Redis nodes. Default: `'degraded'`, because the database alone keeps all guarantees, or `'down'` where
   * `onLockUnavailable` is `'reject'`, because every request is refused.
   */
  readonly withoutLock?: 'degraded' | 'down';
}

/** The details of the store. Durations are milliseconds. */
export type StoreHealth =
  | { readonly status: 'up'; readonly responseTime: number }
  | ({ readonly status: 'down'; readonly responseTime: number } & StoreFailure);

/** The details of the lock in Redis. Durations are milliseconds. */
export interface LockHealth {
  /** `up`: a quorum of nodes answers. */
  readonly status: 'up' | 'degraded' | 'down';
  /** The number of nodes of the option `redis`. */
  readonly nodes: number;
  /** The number of nodes that take a lock. */
  readonly answering: number;
  /** The number of nodes that have to answer. */
  readonly quorum: number;
  /** Why other nodes did not answer: `no answer`, `not connected`, `refused: READONLY`. */
  readonly failures?: readonly string[];
  readonly responseTime: number;
}

/** Checks whether idempotent operations can run: the store, and the lock where Redis is used. */
@Injectable()
export class IdempotencyHealthIndicator {
  private query: Promise<unknown> | undefined;

  constructor(
    @Inject(HealthIndicatorService) private readonly indicators: HealthIndicatorService,
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
  ) {}

  /**
   * Checks what a claim needs, on the connections that requests use: the tables, and the right to write to them, without writing. Asks
   * each Redis node for a lock. Never rejects, and settles within `timeout`.
   *
   * @param key the name in the health check's result. Default: `'idempotency'`
   *
   * @example
   * this.health.check([() => this.idempotency.isHealthy()]);
   */
  async isHealthy<Key extends string = 'idempotency'>(
    key = 'idempotency' as Key,
    options: IdempotencyHealthOptions = {},
  ): Promise<HealthIndicatorResult<Key>> {
    const [store, lock] = await Promise.all([this.checkStore(options.timeout ?? 1_000), this.checkLock(options)]);
    const session = this.indicators.check(key);
    const details = { store, ...(lock && { lock }) };
    if (store.status === 'down' || lock?.status === 'down') return session.down(details);
    // Terminus has this status from 12.1 on.
    if (lock?.status === 'degraded' && 'degraded' in session) return session.degraded(details);
    return session.up(details);
  }

  private async checkStore(timeoutMs: number): Promise<StoreHealth> {
    const startedAt = performance.now();
    // One query at a time: with a database that hangs, each probe would take one more connection of the pool.
    this.query ??= this.askStore().finally(() => (this.query = undefined));
    try {
      if ((await settleWithin(this.query, timeoutMs)) !== TIME_IS_UP)
        return { status: 'up', responseTime: since(startedAt) };
      return { status: 'down', responseTime: since(startedAt), reason: 'no-answer' };
    } catch (error) {
      return { status: 'down', responseTime: since(startedAt), ...storeFailure(error) };
    }
  }

  /** Sends an update that matches no record, and a read of the other table. */
  private async askStore(): Promise<void> {
    const store = this.moduleRef.get(SqlRecordStore, { strict: false });
    await store.markAwaited(NO_OWNER);
    await store.steps.load(NO_OWNER);
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
      responseTime: since(startedAt),
    };
  }
}

/** Returns the time that has passed, in milliseconds with one decimal. */
function since(startedAt: number): number {
  return Math.round((performance.now() - startedAt) * 10) / 10;
}
