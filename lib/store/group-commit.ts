interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export interface GroupCommitSettings {
  /** The most items in one batch. */
  readonly maxBatch: number;
  /** How many batches may be under way at once. */
  readonly inFlight: number;
}

/**
 * Client-side group commit: what arrives while batches are under way goes together as the next one. No timer, and so no
 * delay when idle: an item that finds a free place leaves at once, alone.
 *
 * A batch that fails is tried item by item, so that one bad row does not fail its neighbours.
 */
export class GroupCommit<Item extends { readonly recordId: string }, Answer> {
  private readonly queue: Waiting<Item, Answer>[] = [];
  private underWay = 0;

  /** @param run carries out a batch, whose ids are distinct and sorted, and answers item by item */
  constructor(
    private readonly run: (items: readonly Item[]) => Promise<readonly Answer[]>,
    private readonly settings: GroupCommitSettings,
  ) {}

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.queue.push({ item, resolve, reject });
      this.next();
    });
  }

  private next(): void {
    if (this.underWay >= this.settings.inFlight || this.queue.length === 0) return;
    const batch = this.take();
    this.underWay++;
    void this.settle(batch).finally(() => {
      this.underWay--;
      this.next();
    });
  }

  private async settle(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.run(batch.map((waiting) => waiting.item));
      batch.forEach((waiting, i) => waiting.resolve(answers[i]));
    } catch (error) {
      if (batch.length === 1) return batch[0].reject(error);
      for (const waiting of batch) await this.settle([waiting]);
    }
  }

  /** Ids are unique within a batch, as a statement can touch a row once; sorted, so that batches cannot deadlock. */
  private take(): Waiting<Item, Answer>[] {
    if (this.queue.length === 1) return [this.queue.pop()!];
    const batch = new Map<string, Waiting<Item, Answer>>();
    const later: Waiting<Item, Answer>[] = [];
    for (const waiting of this.queue.splice(0)) {
      const { recordId } = waiting.item;
      if (batch.size < this.settings.maxBatch && !batch.has(recordId)) batch.set(recordId, waiting);
      else later.push(waiting);
    }
    this.queue.push(...later);
    return [...batch.values()].sort((a, b) => (a.item.recordId < b.item.recordId ? -1 : 1));
  }
}
