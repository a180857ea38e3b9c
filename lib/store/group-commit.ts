import { LockedRows, saysLocked } from './locked-rows.js';

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly since: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export interface GroupCommitSettings {
  /** The most items in one batch. */
  readonly maxBatch: number;
  /** How many batches may be under way at once. */
  readonly inFlight: number;
  /**
   * How long anybody waits, in milliseconds. A batch without an answer makes room for the next after that, and an item
   * that was not sent by then never is: whoever added it has given up.
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
export class GroupCommit<Item extends { readonly recordId: string }, Answer> {
  private queue: Waiting<Item, Answer>[] = [];
  private underWay = 0;
  private scheduled = false;
  private readonly locked: LockedItems<Item, Answer>;

  /** @param run carries out a batch, whose ids are distinct and sorted, and answers item by item */
  constructor(
    private readonly run: (items: readonly Item[]) => Promise<readonly Answer[]>,
    private readonly settings: GroupCommitSettings,
  ) {
    this.locked = new LockedItems(async (waiting) => {
      if (!this.isWaitedFor(waiting)) throw tooLate();
      return (await run([waiting.item]))[0];
    });
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.queue.push({ item, since: performance.now(), resolve, reject });
      this.soon();
    });
  }

  /** At the end of this turn of the event loop: what other sockets have to say by then goes with it. */
  private soon(): void {
    if (this.scheduled || this.queue.length === 0 || this.underWay >= this.settings.inFlight) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.next();
    });
  }

  /** Fills every free place: an item that stayed in the queue would wait for whatever the first has to wait for. */
  private next(): void {
    while (this.underWay < this.settings.inFlight) {
      const batch = this.take();
      if (batch.length === 0) return;
      this.send(batch);
    }
  }

  private send(batch: readonly Waiting<Item, Answer>[]): void {
    this.underWay++;
    let left = false;
    const leave = () => {
      clearTimeout(timer);
      if (left) return;
      left = true;
      this.underWay--;
      this.soon();
    };
    const timer = setTimeout(leave, this.settings.patienceMs);
    void this.settle(batch).finally(leave);
  }

  private async settle(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.run(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, i) => waiting.resolve(answers[i]));
    } catch (error) {
      const locked = saysLocked(error);
      if (batch.length === 1 && locked) return this.locked.add(batch[0]);
      if (batch.length === 1 || (!locked && this.settings.isCommon(error))) {
        for (const waiting of batch) waiting.reject(error);
        return;
      }
      for (const waiting of batch) await this.settle([waiting]);
    }
  }

  /** Ids are unique within a batch, as a statement can touch a row once; sorted, so that batches cannot deadlock. */
  private take(): Waiting<Item, Answer>[] {
    const gathered = this.queue;
    this.queue = [];
    if (gathered.length === 1 && this.isWaitedFor(gathered[0]) && !this.locked.has(gathered[0])) return gathered;
    const batch = new Map<string, Waiting<Item, Answer>>();
    const { maxBatch } = this.settings;
    for (const [i, waiting] of gathered.entries()) {
      if (batch.size === maxBatch) {
        this.queue = [...this.queue, ...gathered.slice(i)];
        break;
      }
      const { recordId } = waiting.item;
      if (!this.isWaitedFor(waiting)) waiting.reject(tooLate());
      else if (this.locked.has(waiting)) this.locked.add(waiting);
      else if (batch.has(recordId)) this.queue.push(waiting);
      else batch.set(recordId, waiting);
    }
    return [...batch.values()].sort((a, b) => (a.item.recordId < b.item.recordId ? -1 : 1));
  }

  private isWaitedFor(waiting: Waiting<Item, Answer>): boolean {
    return performance.now() - waiting.since < this.settings.patienceMs;
  }
}

const tooLate = () => new Error('waited too long to be sent');

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

  add(waiting: Waiting<Item, Answer>): void {
    const { recordId } = waiting.item;
    this.remember(recordId);
    const ask = async () => {
      const answer = await this.ask(waiting);
      this.knownUntil.delete(recordId);
      return answer;
    };
    this.rows.waitFor(ask, LOCKED_PATIENCE_MS).then(waiting.resolve, waiting.reject);
  }

  private remember(recordId: string): void {
    const now = performance.now();
    for (const [id, until] of this.knownUntil) if (until <= now) this.knownUntil.delete(id);
    this.knownUntil.set(recordId, now + REMEMBER_FOR_MS);
  }
}
