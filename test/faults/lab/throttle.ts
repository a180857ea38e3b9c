/** Answers that take longer mean that too much was asked for at a time, in milliseconds. */
const TOO_LONG = 400;
const FEWEST = 8;
/** Failures that come together have one cause. In milliseconds. */
const TOGETHER = 250;

/**
 * How many operations are asked for at a time: one more for each round of quick answers, a quarter less where answers fail or
 * take long. Without it, the retries of a machine that is busy would take what it has left.
 */
export class Throttle {
  private limit = FEWEST;
  private taken = 0;
  private cutAt = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly most: number) {}

  /** Resolves when another operation may begin. */
  free(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.admit();
    });
  }

  release(): void {
    this.taken--;
    this.admit();
  }

  learn(tookMs: number, failed: boolean): void {
    if (!failed && tookMs < TOO_LONG) {
      this.limit = Math.min(this.most, this.limit + 1 / this.limit);
      this.admit();
    } else if (performance.now() - this.cutAt > TOGETHER) {
      this.cutAt = performance.now();
      this.limit = Math.max(Math.min(FEWEST, this.most), this.limit * 0.75);
    }
  }

  private admit(): void {
    for (; this.taken + 1 <= this.limit && this.waiting.length; this.taken++) this.waiting.shift()!();
  }
}
