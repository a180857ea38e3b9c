import { type BeforeApplicationShutdown, Logger, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { current } from '../engine/current-execution.js';
import type { IdempotencyEngine } from '../engine/engine.js';
import type { IdempotencyEvent } from '../engine/events.js';
import type { RecordLock } from '../engine/ports/record-lock.js';
import type { WakeUp } from '../engine/ports/wake-up.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import type { EventStream } from '../service/event-stream.js';
import { explainStore } from '../store/missing-tables.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { Sweeper } from '../store/sweeper.js';
import { faultOfSignals } from './shutdown-signals.js';

/** The shortest time between two warnings of a kind, in milliseconds: in an outage, every request would log one. */
const WARN_EVERY_MS = 10_000;

/** How many held records are logged once each, before the count restarts: unbounded, the set would grow forever. */
const MAX_LOGGED_HELD = 1_000;

/** When to look for listeners of SIGTERM, in milliseconds: applications may enable their hooks after `listen()`. */
const LOOK_FOR_SIGNALS_AFTER_MS = 1_000;

/** How long a shutdown waits for running executions, in milliseconds: a handler that hangs must not stop it. */
const DRAIN_FOR_MS = 30_000;

/** Starts and stops what lives as long as the application: the sweeper and the log, and the drain of running executions. */
export class IdempotencyLifecycle implements OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger('Idempotency');
  private readonly sweeper: Sweeper;
  private readonly warnedAt = new Map<string, number>();
  private readonly loggedHeld = new Set<string>();
  private checking: Promise<void> | undefined;
  private closing: Promise<void> | undefined;
  private signalTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly parts: {
      readonly options: ResolvedModuleOptions;
      readonly engine: IdempotencyEngine;
      readonly store: SqlRecordStore;
      readonly lock: RecordLock | undefined;
      readonly wakeUp: WakeUp | undefined;
      readonly events: EventStream;
      readonly audit: (logger: Logger) => void;
      /** Rejects where the store cannot work. */
      readonly check: (logger: Logger) => Promise<void>;
    },
  ) {
    this.sweeper = new Sweeper(
      (limit) => parts.store.sweep(limit),
      (error) => this.warn('sweep', `Expired records could not be deleted: ${explainStore(error)}`),
    );
  }

  onModuleInit(): void {
    this.parts.events.onEvent = (event) => this.log(event);
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.closing) return;
    this.parts.audit(this.logger);
    this.checking = this.parts.check(this.logger);
    await this.checking;
    if (this.closing) return;
    if (this.parts.options.sweep) this.sweeper.start(this.parts.options.sweep);
    if (this.parts.options.audit !== 'off' && process.env.NODE_ENV !== 'test') this.lookForSignals();
  }

  private lookForSignals(): void {
    this.signalTimer = setTimeout(() => {
      const fault = faultOfSignals();
      if (fault !== undefined) this.logger.warn(fault);
    }, LOOK_FOR_SIGNALS_AFTER_MS).unref();
  }

  /** Several callers, such as two signals, close an application at the same time: all of them wait for the executions. */
  beforeApplicationShutdown(): Promise<void> {
    const closer = current()?.execution;
    if (closer?.calls.isRunning && !this.closing) {
      this.logger.warn(
        `${closer.endpoint}: the handler closes the application, which waits for the handler: do not await close() in it`,
      );
    }
    return (this.closing ??= this.close());
  }

  private async close(): Promise<void> {
    // A signal may come while the application boots. Without its connections, the check would report faults of a database that has none.
    await this.checking?.catch(() => undefined);
    this.sweeper.stop();
    clearTimeout(this.signalTimer);
    const timeUp = new AbortController();
    const tooLong = sleep(DRAIN_FOR_MS, undefined, { signal: timeUp.signal, ref: false }).catch(() => undefined);
    await this.parts.engine.drain(tooLong);
    timeUp.abort();
    await this.parts.lock?.close();
    await this.parts.wakeUp?.close();
    await this.parts.store.close();
    this.parts.events.complete();
  }

  /** Logs what an operator has to know. All other events are for subscribers. */
  private log(event: IdempotencyEvent): void {
    const { endpoint, recordId } = event;
    switch (event.type) {
      case 'lockDegraded':
        return this.warn('lock', `Doing without the lock in Redis: ${event.reason}`);
      case 'lockUnavailable':
        return this.warn('lock', `The lock in Redis cannot be taken: ${event.reason}`);
      case 'storeUnavailable':
        this.warn('store', `The database cannot be asked: ${explainStore(event.error)}`);
        if (event.refused) this.logRefusal(endpoint, event.error);
        return;
      case 'leaseLost':
        return this.warn('lease', `${endpoint}: an execution has lost its record ${recordId}`);
      case 'overran':
        return this.logger.error(
          `${endpoint}: an execution of record ${recordId} runs for longer than \`maxDuration\`; its lease runs out`,
        );
      case 'longRunning':
        return this.warn(
          'longRunning',
          `${endpoint}: an execution of record ${recordId} has run for ten minutes, and its key stays taken until it ends. ` +
            'Limit what it waits for, or set `maxDuration`',
        );
      case 'unrecorded':
        return this.warn(
          'unrecorded',
          `${endpoint}: the end of an execution of record ${recordId} could not be recorded: ${explainStore(event.error)}`,
        );
      case 'notKept': {
        const what = event.step === undefined ? 'the response' : `the result of step "${event.step}"`;
        return this.logger.error(
          `${endpoint}: ${what} of record ${recordId} could not be kept, and is recorded as done without it: ${explainStore(event.error)}`,
        );
      }
      case 'unreachedSteps': {
        const steps = event.steps.map((step) => `"${step}"`).join(', ');
        return this.logger.error(
          `${endpoint}: record ${recordId} was answered by attempt ${event.attempt}, which did not call ${steps} of an earlier attempt. ` +
            'Find out whether that happened, and undo it if the answer denies it',
        );
      }
      case 'held':
        return this.logHeld(endpoint, recordId, event.exhausted);
    }
  }

  /** Logs a held record once: its client may go on retrying. */
  private logHeld(endpoint: string, recordId: string, exhausted: boolean | undefined): void {
    if (this.loggedHeld.has(recordId)) return;
    if (this.loggedHeld.size === MAX_LOGGED_HELD) this.loggedHeld.clear();
    this.loggedHeld.add(recordId);
    const cause = exhausted ? 'every execution died that `maxAttempts` allows in a row' : 'its outcome is unknown';
    this.logger.error(
      `${endpoint}: record ${recordId} is held, as ${cause}: find out whether the operation happened, and resolve the record`,
    );
  }

  /** Logs a claim that the database refused, with its stack: a mistake, as a missing table or right, and no outage. */
  private logRefusal(endpoint: string, error: unknown): void {
    if (!this.isDue('refusal')) return;
    this.logger.error(`${endpoint}: ${explainStore(error)}`, (error as Error | undefined)?.stack);
  }

  private warn(kind: string, message: string): void {
    if (this.isDue(kind)) this.logger.warn(message);
  }

  private isDue(kind: string): boolean {
    const now = performance.now();
    if (now - (this.warnedAt.get(kind) ?? -Infinity) < WARN_EVERY_MS) return false;
    this.warnedAt.set(kind, now);
    return true;
  }
}
