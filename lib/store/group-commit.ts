import { AsyncResource } from 'node:async_hooks';
import { setImmediate } from 'node:timers';
import { outsideRequests } from '../engine/outside-requests.js';
import { ShortLivedMap } from '../engine/short-lived.js';
import { Deadlines, noAnswer, storeError } from './deadline.js';
import { says } from './driver-errors.js';
import { LockedRows } from './locked-rows.js';

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
  readonly onLate: ((answer: Answer) => void) | undefined;
  /** The async context of an item that may be the first of a batch which another item or an earlier batch sends. */
  readonly context: AsyncResource | undefined;
  isGivenUp: boolean;
}

export interface GroupCommitSettings {
  readonly maxBatch: number;
  /** Maximum number of batches in flight at once. */
  readonly inFlight: number;
  /**
   * How long an item waits for its answer, in milliseconds. An item that was not sent by then is never sent. A batch whose
   * items have all given up no longer counts as in flight: a silent connection must not stop every later batch.
   */
  readonly patienceMs: number;
  /** Returns whether an error concerns the batch as a whole. The items are then not tried one by one. */
  readonly isCommon: (error: unknown) => boolean;
}

/**
 * Client-side group commit: items that arrive while batches are in flight form the next batch. There is no timer: an idle
 * store sends an item at the end of the turn of the event loop in which it arrived.
 *
 * When the database refuses a batch, its items are sent one by one: one bad row must not fail its neighbours. An item
 * whose row is locked is sent by {@link LockedItems}, outside of batches.
 *
 * The states of an item:
 * - queued: waits for a free batch. Sent in a batch, alone because its row is locked, or given up.
 * - sent: waits for its answer. Settled by the answer, by an error, or given up.
 * - given up: its caller got StoreUnavailableError after `patienceMs`. A later answer goes to `onLate`.
 */
export class GroupCommit<Item extends { readonly recordId: string }, Row, Answer = Row> {
  private queue: Waiting<Item, Answer>[] = [];
  private readonly batchesInFlight = new ShortLivedMap<readonly Waiting<Item, Answer>[], true>();
  private isScheduled = false;
  private readonly deadlines: Deadlines<Waiting<Item, Answer>>;
  private readonly locked = new LockedItems();

  /**
   * @param run executes a batch, whose ids are distinct and sorted, and returns one row for each item, in order
   * @param read converts a row to the item's answer. An error that it throws rejects that item alone.
   */
  constructor(
    private readonly run: (items: readonly Item[]) => Promise<readonly Row[]>,
    private readonly settings: GroupCommitSettings,
    private readonly read: (row: Row) => Answer,
  ) {
    this.deadlines = new Deadlines(settings.patienceMs, (waiting) => this.giveUp(waiting));
  }

  /**
   * @param onLate receives an answer that arrives after the item was given up
   * @throws StoreUnavailableError when no answer arrives in time, and for an error that a retry may cure
   * @throws StoreRefusedError for any other error of the database
   */
  add(item: Item, onLate?: (answer: Answer) => void): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const context = this.mayLead() ? new AsyncResource('IdempotencyBatch') : undefined;
      const waiting = { item, resolve, reject, onLate, context, isGivenUp: false };
      this.queue.push(waiting);
      this.deadlines.add(waiting);
      this.schedule();
    });
  }

  /**
   * Returns whether the next item is the first of a batch that it does not schedule itself. Such a batch runs in the item's context, so
   * that its statement belongs to the log lines and the trace of a request that it is for. One context a batch is enough.
   */
  private mayLead(): boolean {
    const isFirst = this.queue.length % this.settings.maxBatch === 0;
    return isFirst && (this.isScheduled || this.batchesInFlight.size >= this.settings.inFlight);
  }

  /** Schedules a batch for the end of this turn of the event loop: requests of other sockets in the same turn join it. */
  private schedule(): void {
    if (this.isScheduled || this.queue.length === 0 || this.batchesInFlight.size >= this.settings.inFlight) return;
    this.isScheduled = true;
    setImmediate(this.sendBatches);
  }

  /** Starts batches until no more may be in flight: with batches of one, an item must not wait for another's answer. */
  private readonly sendBatches = (): void => {
    this.isScheduled = false;
    while (this.batchesInFlight.size < this.settings.inFlight) {
      const batch = this.takeBatch();
      if (batch.length === 0) return;
      this.batchesInFlight.set(batch, true);
      const context = batch.find((waiting) => waiting.context)?.context;
      const start = () => void this.send(batch).then(() => this.end(batch));
      if (context) context.runInAsyncScope(start);
      else start();
    }
  };

  private end(batch: readonly Waiting<Item, Answer>[]): void {
    // A batch that has no context of its own would otherwise run in that of the one before, and under load in that of the first request.
    if (this.batchesInFlight.delete(batch)) outsideRequests(() => this.schedule());
  }

  private send(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    return this.run(batch.map(({ item }) => item)).then(
      (rows) => batch.forEach((waiting, i) => this.answer(waiting, rows[i])),
      (error: unknown) => this.onRefused(batch, error),
    );
  }

  private async onRefused(batch: readonly Waiting<Item, Answer>[], error: unknown): Promise<void> {
    const isLocked = says(error, 'locked');
    if (batch.length === 1 && isLocked) return this.waitForLock(batch[0]);
    if (batch.length === 1 || (!isLocked && this.settings.isCommon(error))) {
      for (const waiting of batch) this.fail(waiting, error);
      return;
    }
    for (const waiting of batch) await this.send([waiting]);
  }

  private answer(waiting: Waiting<Item, Answer>, row: Row): void {
    try {
      const answer = this.read(row);
      if (waiting.isGivenUp) return waiting.onLate?.(answer);
      this.deadlines.delete(waiting);
      waiting.resolve(answer);
    } catch (error) {
      // What `onLate` throws has no caller to handle it: a rejection would end the process.
      this.fail(waiting, error);
    }
  }

  private fail(waiting: Waiting<Item, Answer>, error: unknown): void {
    this.deadlines.delete(waiting);
    waiting.reject(storeError(error));
  }

  private waitForLock(waiting: Waiting<Item, Answer>): void {
    const ask = async () => {
      if (waiting.isGivenUp) throw noAnswer(this.settings.patienceMs);
      return (await this.run([waiting.item]))[0];
    };
    this.locked.waitFor(waiting.item.recordId, ask).then(
      (row) => this.answer(waiting, row),
      (error: unknown) => this.fail(waiting, error),
    );
  }

  private giveUp(waiting: Waiting<Item, Answer>): void {
    waiting.isGivenUp = true;
    this.fail(waiting, noAnswer(this.settings.patienceMs));
    for (const [batch] of this.batchesInFlight) if (batch.every(({ isGivenUp }) => isGivenUp)) this.end(batch);
  }

  /** Ids are unique within a batch, because a statement can touch a row once. They are sorted to prevent deadlocks. */
  private takeBatch(): readonly Waiting<Item, Answer>[] {
    const queued = this.queue;
    this.queue = [];
    const batch: Waiting<Item, Answer>[] = [];
    const ids = queued.length > 1 ? new Set<string>() : undefined;
    const { maxBatch } = this.settings;
    for (const waiting of queued) {
      const { recordId } = waiting.item;
      if (waiting.isGivenUp) continue;
      if (this.locked.has(recordId)) this.waitForLock(waiting);
      else if (batch.length === maxBatch || ids?.has(recordId)) this.queue.push(waiting);
      else {
        ids?.add(recordId);
        batch.push(waiting);
      }
    }
    return batch.length > 1 ? batch.sort(byRecordId) : batch;
  }
}

function byRecordId(a: { item: { recordId: string } }, b: { item: { recordId: string } }): number {
  return a.item.recordId < b.item.recordId ? -1 : 1;
}

/** How long a row that was found locked stays out of batches. Until then, it would delay and fail each batch it joins. */
const REMEMBER_FOR_MS = 5_000;

/** How long an item waits for its row to be unlocked. A longer wait would hold a request for an operator's transaction. */
const LOCKED_PATIENCE_MS = 500;

/**
 * Items whose rows other transactions have locked. They stay out of batches: a batch would wait for the locked row and
 * then fail, each time.
 */
class LockedItems {
  private readonly rows = new LockedRows();
  private readonly lockedUntil = new Map<string, number>();

  /** Returns whether the item's row was found locked, and has not been found free since. */
  has(recordId: string): boolean {
    return this.lockedUntil.size > 0 && performance.now() < (this.lockedUntil.get(recordId) ?? 0);
  }

  /** Runs `ask` in turn with those of other locked items, until the row is free. */
  async waitFor<Row>(recordId: string, ask: () => Promise<Row>): Promise<Row> {
    const now = performance.now();
    for (const [id, until] of this.lockedUntil) if (until <= now) this.lockedUntil.delete(id);
    this.lockedUntil.set(recordId, now + REMEMBER_FOR_MS);
    const row = await this.rows.waitFor(ask, LOCKED_PATIENCE_MS);
    this.lockedUntil.delete(recordId);
    return row;
  }
}
