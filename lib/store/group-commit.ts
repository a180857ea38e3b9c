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
 * A batch that the database refuses is tried item by item, so that one bad row does not fail its neighbours.
 */
export class GroupCommit<Item extends { readonly recordId: string }, Answer> {
  private queue: Waiting<Item, Answer>[] = [];
  private underWay = 0;
  private scheduled = false;

  /** @param run carries out a batch, whose ids are distinct and sorted, and answers item by item */
  constructor(
    private readonly run: (items: readonly Item[]) => Promise<readonly Answer[]>,
    private readonly settings: GroupCommitSettings,
  ) {}

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

  private next(): void {
    if (this.underWay >= this.settings.inFlight) return;
    const batch = this.take();
    if (batch.length === 0) return;
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
      if (batch.length === 1 || this.settings.isCommon(error)) {
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
    if (gathered.length === 1 && this.isWaitedFor(gathered[0])) return gathered;
    const batch = new Map<string, Waiting<Item, Answer>>();
    for (const waiting of gathered) {
      const { recordId } = waiting.item;
      if (!this.isWaitedFor(waiting)) waiting.reject(new Error('waited too long to be sent'));
      else if (batch.size < this.settings.maxBatch && !batch.has(recordId)) batch.set(recordId, waiting);
      else this.queue.push(waiting);
    }
    return [...batch.values()].sort((a, b) => (a.item.recordId < b.item.recordId ? -1 : 1));
  }

  private isWaitedFor(waiting: Waiting<Item, Answer>): boolean {
    return performance.now() - waiting.since < this.settings.patienceMs;
  }
}
