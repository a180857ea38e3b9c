import { type BeforeApplicationShutdown, Logger, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IdempotencyEngine } from '../engine/engine.js';
import type { RecordLock } from '../engine/ports/record-lock.js';
import type { WakeUp } from '../engine/ports/wake-up.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import type { EventStream } from '../service/event-stream.js';
import { explainStore } from '../store/missing-tables.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { Sweeper } from '../store/sweeper.js';

/** At most one warning of a kind in so many milliseconds. */
const WARN_EVERY = 10_000;

/** How many records it remembers to have logged. */
const MOST_HELD = 1_000;

/** How long shutting down waits for what runs, in milliseconds. */
const DRAIN_FOR = 30_000;

/** Begins and ends with the application: sweeping, warnings, and the end of what runs. */
export class IdempotencyLifecycle implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Idempotency');
  private readonly sweeper: Sweeper;
  private readonly warnedAt = new Map<string, number>();
  private readonly held = new Set<string>();

  constructor(
    private readonly parts: {
      readonly options: ResolvedModuleOptions;
      readonly engine: IdempotencyEngine;
      readonly store: SqlRecordStore;
      readonly lock: RecordLock | undefined;
      readonly wakeUp: WakeUp | undefined;
      readonly events: EventStream;
      readonly audit: () => void;
      /** Whether the store can work. */
      readonly check: (logger: Logger) => Promise<void>;
    },
  ) {
    this.sweeper = new Sweeper(
      (limit) => parts.store.sweep(limit),
      (error) => this.warn('sweep', `Expired records could not be deleted: ${explainStore(error)}`),
    );
  }

  onModuleInit(): void {
    this.parts.events.onTrouble = (event) => {
      if (event.type === 'lockDegraded') this.warn('lock', `Doing without the lock in Redis: ${event.reason}`);
      if (event.type === 'lockUnavailable') this.warn('lock', `The lock in Redis cannot be taken: ${event.reason}`);
      if (event.type === 'storeUnavailable')
        this.warn('store', `The database cannot be asked: ${explainStore(event.error)}`);
      if (event.type === 'leaseLost') this.warn('lease', `An execution of ${event.endpoint} has lost its record`);
      if (event.type === 'overran') {
        this.logger.error(`${event.endpoint}: an execution runs for longer than \`maxDuration\`; its lease runs out`);
      }
      if (event.type === 'unrecorded') {
        this.warn(
          'unrecorded',
          `${event.endpoint}: the end of an execution could not be recorded: ${explainStore(event.error)}`,
        );
      }
      if (event.type === 'notKept') {
        const what = event.step === undefined ? 'the response' : `the result of step "${event.step}"`;
        this.logger.error(
          `${event.endpoint}: ${what} could not be kept, and is recorded as done without it: ${explainStore(event.error)}`,
        );
      }
      if (event.type === 'held') this.logHeld(event.endpoint, event.recordId, event.exhausted);
    };
  }

  async onApplicationBootstrap(): Promise<void> {
    this.parts.audit();
    await this.parts.check(this.logger);
    if (this.parts.options.sweep) this.sweeper.start(this.parts.options.sweep);
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.sweeper.stop();
    const timeUp = new AbortController();
    const tooLong = sleep(DRAIN_FOR, undefined, { signal: timeUp.signal, ref: false }).catch(() => undefined);
    await Promise.race([this.parts.engine.drain(), tooLong]);
    timeUp.abort();
    await this.parts.lock?.close();
    await this.parts.wakeUp?.close();
    await this.parts.store.close();
    this.parts.events.complete();
  }

  /** Once for each record: its client may go on asking. */
  private logHeld(endpoint: string, recordId: string, exhausted = false): void {
    if (this.held.has(recordId)) return;
    if (this.held.size === MOST_HELD) this.held.clear();
    this.held.add(recordId);
    const cause = exhausted ? 'every execution died that `maxAttempts` allows in a row' : 'its outcome is unknown';
    this.logger.error(
      `${endpoint}: record ${recordId} is held, as ${cause}: find out what came of the operation, and resolve the record`,
    );
  }

  private warn(kind: string, message: string): void {
    const now = performance.now();
    if (now - (this.warnedAt.get(kind) ?? -Infinity) < WARN_EVERY) return;
    this.warnedAt.set(kind, now);
    this.logger.warn(message);
  }
}
