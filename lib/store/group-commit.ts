import { ShortLivedSet } from '../engine/short-lived.js';
import { Deadlines, noAnswer, storeError } from './deadline.js';
import { LockedRows, saysLocked } from './locked-rows.js';

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
  readonly onLate: ((answer: Answer) => void) | undefined;
  isGivenUp: boolean;
}

export interface GroupCommitSettings {
  /** The most items in one batch. */
  readonly maxBatch: number;
  /** How many batches may be under way at once. */
  readonly inFlight: number;
  /**
   * How long an item waits for its answer, in milliseconds. One that was not sent by then never is, and a batch none of whose
   * items is waited for any more makes room for the next one.
   */
  readonly patienceMs: number;
  /** Whether a batch's error is about the batch as a whole, so that trying its items one by one would not help. */
  readonly isCommon: (error: unknown) => boolean;
}

/**
 * Client-side group commit: what arrives while batches are under way goes together as the next one. No timer, and so no
 * delay when idle: an item that finds a free place leaves at the end of this turn of the event loop.
 *
 * A batch that the database refuses is tried item by item, so that one bad row does not fail its neighbours. An item whose
 * row is locked leaves its batch, and batches go on without it: see {@link LockedItems}.
 */
export class GroupCommit<Item extends { readonly recordId: string }, Row, Answer = Row> {
  private queue: Waiting<Item, Answer>[] = [];
  private readonly underWay = new ShortLivedSet<readonly Waiting<Item, Answer>[]>();
  private scheduled = false;
  private readonly deadlines: Deadlines<Waiting<Item, Answer>>;
  private readonly locked: LockedItems<Item, Answer>;

  /**
   * @param run carries out a batch, whose ids are distinct and sorted, and returns a row for each item
   * @param read what the row of an item is answered as. What it throws, that item's caller gets.
   */
  constructor(
    private readonly run: (items: readonly Item[]) => Promise<readonly Row[]>,
    private readonly settings: GroupCommitSettings,
    private readonly read: (row: Row) => Answer,
  ) {
    this.deadlines = new Deadlines(settings.patienceMs, (waiting) => this.giveUp(waiting));
    this.locked = new LockedItems(async (waiting) => {
      if (!this.isWaitedFor(waiting)) throw noAnswer(settings.patienceMs);
      return read((await run([waiting.item]))[0]);
    });
  }

  /**
   * @param onLate gets an answer that comes after the item was given up
   * @throws StoreUnavailableError without an answer in time, and for an error that a retry may cure
   * @throws StoreRefusedError for any other error of the database
   */
  add(item: Item, onLate?: (answer: Answer) => void): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const waiting = { item, since: performance.now(), resolve, reject, onLate, isGivenUp: false };
      this.queue.push(waiting);
      this.deadlines.add(waiting);
      this.soon();
    });
  }

  /** At the end of this turn of the event loop: what other sockets have to say by then goes with it. */
  private soon(): void {
    if (this.scheduled || this.queue.length === 0 || this.underWay.size >= this.settings.inFlight) return;
    this.scheduled = true;
    setImmediate(this.next);
  }

  /** Fills every free place: an item that stayed in the queue would wait for whatever the first has to wait for. */
  private readonly next = (): void => {
    this.scheduled = false;
    while (this.underWay.size < this.settings.inFlight) {
      const batch = this.take();
      if (batch.length === 0) return;
      this.underWay.add(batch);
      void this.send(batch).then(() => this.leave(batch));
    }
  };

  private leave(batch: readonly Waiting<Item, Answer>[]): void {
    if (this.underWay.delete(batch)) this.soon();
  }

  private async send(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const rows = await this.run(batch.map(({ item }) => item));
      for (let i = 0; i < batch.length; i++) this.answer(batch[i], rows[i]);
    } catch (error) {
      const isLocked = saysLocked(error);
      if (batch.length === 1 && isLocked) return this.waitForLock(batch[0]);
      if (batch.length === 1 || (!isLocked && this.settings.isCommon(error))) {
        for (const waiting of batch) this.fail(waiting, error);
        return;
      }
      for (const waiting of batch) await this.send([waiting]);
    }
  }

  private answer(waiting: Waiting<Item, Answer>, row: Row): void {
    try {
      this.settle(waiting, this.read(row));
    } catch (error) {
      this.fail(waiting, error);
    }
  }

  private settle(waiting: Waiting<Item, Answer>, answer: Answer): void {
    if (waiting.isGivenUp) return handOn(waiting, answer);
    this.deadlines.delete(waiting);
    waiting.resolve(answer);
  }

  private fail(waiting: Waiting<Item, Answer>, error: unknown): void {
    this.deadlines.delete(waiting);
    waiting.reject(storeError(error));
  }

  private waitForLock(waiting: Waiting<Item, Answer>): void {
    this.locked.answerOf(waiting).then(
      (answer) => this.settle(waiting, answer),
      (error: unknown) => this.fail(waiting, error),
    );
  }

  private giveUp(waiting: Waiting<Item, Answer>): void {
    waiting.isGivenUp = true;
    this.fail(waiting, noAnswer(this.settings.patienceMs));
    for (const batch of this.underWay) if (batch.every(({ isGivenUp }) => isGivenUp)) this.leave(batch);
  }

  /** Ids are unique within a batch, as a statement can touch a row once; sorted, so that batches cannot deadlock. */
  private take(): readonly Waiting<Item, Answer>[] {
    const gathered = this.queue;
    this.queue = [];
    const batch: Waiting<Item, Answer>[] = [];
    const ids = gathered.length > 1 ? new Set<string>() : undefined;
    const { maxBatch } = this.settings;
    for (const waiting of gathered) {
      const { recordId } = waiting.item;
      if (waiting.isGivenUp) continue;
      if (!this.isWaitedFor(waiting)) this.giveUp(waiting);
      else if (this.locked.has(waiting)) this.waitForLock(waiting);
      else if (batch.length === maxBatch || ids?.has(recordId)) this.queue.push(waiting);
      else {
        ids?.add(recordId);
        batch.push(waiting);
      }
    }
    return batch.length > 1 ? batch.sort(byRecordId) : batch;
  }

  private isWaitedFor({ since, isGivenUp }: Waiting<Item, Answer>): boolean {
    return !isGivenUp && performance.now() - since < this.settings.patienceMs;
  }
}

/** What a late answer throws, no caller is there to get: its request was answered long ago. */
function handOn<Item, Answer>({ onLate }: Waiting<Item, Answer>, answer: Answer): void {
  try {
    onLate?.(answer);
  } catch {
    // An unhandled rejection would end the process.
  }
}

function byRecordId(a: { item: { recordId: string } }, b: { item: { recordId: string } }): number {
  return a.item.recordId < b.item.recordId ? -1 : 1;
}

/** How long a row that was found locked is taken for locked, unless it is found free, in milliseconds. */
const REMEMBER_FOR_MS = 5_000;

/** How long an item waits for its row to become free, in milliseconds. */
const LOCKED_PATIENCE_MS = 500;

/**
 * Items whose rows others have locked. They stay out of batches: a batch would wait for the locked row, and fail with it,
 * again and again.
 */
class LockedItems<Item extends { readonly recordId: string }, Answer> {
  private readonly rows = new LockedRows();
  private readonly knownUntil = new Map<string, number>();

  /** @param ask asks for a single item */
  constructor(private readonly ask: (waiting: Waiting<Item, Answer>) => Promise<Answer>) {}

  /** Returns whether the item's row was found locked, and not free since. */
  has({ item }: Waiting<Item, Answer>): boolean {
    return this.knownUntil.size > 0 && performance.now() < (this.knownUntil.get(item.recordId) ?? 0);
  }

  answerOf(waiting: Waiting<Item, Answer>): Promise<Answer> {
    const { recordId } = waiting.item;
    this.remember(recordId);
    const ask = async () => {
      const answer = await this.ask(waiting);
      this.knownUntil.delete(recordId);
      return answer;
    };
    return this.rows.waitFor(ask, LOCKED_PATIENCE_MS);
  }

  private remember(recordId: string): void {
    const now = performance.now();
    for (const [id, until] of this.knownUntil) if (until <= now) this.knownUntil.delete(id);
    this.knownUntil.set(recordId, now + REMEMBER_FOR_MS);
  }
}
