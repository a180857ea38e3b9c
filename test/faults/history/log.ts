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

  constructor(
    folder: string,
    private readonly who: string,
  ) {
    this.file = openSync(join(folder, `${who}.jsonl`), 'a');
  }

  say(news: News): void {
    writeSync(this.file, `${JSON.stringify({ at: now(), who: this.who, ...news })}\n`);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Everything that was said in a folder, in the order of time. */
export function readHistory(folder: string): Entry[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry)
    .sort((a, b) => a.at - b.at);
}
