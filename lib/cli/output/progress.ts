import type { Terminal } from './terminal.js';

const WIDTH = 30;

/** Draws a progress bar on stderr, if that is a terminal. */
export class Progress {
  private drawn = false;
  private readonly startedAt = performance.now();

  constructor(
    private readonly terminal: Terminal,
    private readonly total: number,
  ) {}

  show(done: number): void {
    const stream = this.terminal.drawable;
    if (!stream) return;
    // The total was counted before: records that expire meanwhile are deleted too.
    const share = this.total > 0 ? Math.min(1, done / this.total) : 1;
    const filled = Math.round(share * WIDTH);
    const rate = Math.round(done / ((performance.now() - this.startedAt) / 1_000));
    const bar = '█'.repeat(filled) + '░'.repeat(WIDTH - filled);
    stream.write(`\r${bar} ${Math.round(share * 100)} %  ${done} of ${this.total}  ${rate}/s\x1b[K`);
    this.drawn = true;
  }

  end(): void {
    if (this.drawn) this.terminal.drawable?.write('\r\x1b[K');
  }
}
