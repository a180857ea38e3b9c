import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, News } from './entry.js';

/** Milliseconds on the machine's monotonic clock: the same for all processes, and not the clock that faults shift. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Appends to a history. What was said is kept even if the process is killed right after. */
export class Log {
  private readonly file: number;
  private closed = false;

  constructor(
    folder: string,
    private readonly who: string,
  ) {
    this.file = openSync(join(folder, `${who}.jsonl`), 'a');
  }

  /** Nothing is added once it is closed: requests may still be on their way then. */
  say(news: News): void {
    if (!this.closed) writeSync(this.file, `${JSON.stringify({ at: now(), who: this.who, ...news })}\n`);
  }

  close(): void {
    if (!this.closed) closeSync(this.file);
    this.closed = true;
  }
}

/**
 * Everything that was said in a folder until now, in the order of time. What is written while one file after the other
 * is read is left out: an answer would be seen without the completion that came before it.
 */
export function readHistory(folder: string): Entry[] {
  const until = now();
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry)
    .filter(({ at }) => at <= until)
    .sort((a, b) => a.at - b.at);
}
