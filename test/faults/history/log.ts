import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, News } from './entry.js';

const EXTENSION = '.jsonl';

/** Milliseconds on the machine's monotonic clock: the same for all processes, and not the clock that faults shift. */
export function now(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1e3;
}

/**
 * Appends to a history. What was said is kept even if the process is killed right after. Who says it is the name of the file:
 * a million operations make some eight million lines.
 */
export class Log {
  private file: number;
  private closed = false;

  constructor(
    folder: string,
    private readonly who: string,
  ) {
    this.file = this.open(folder);
  }

  /** Nothing is added once it is closed: requests may still be on their way then. */
  say(news: News): void {
    if (!this.closed) writeSync(this.file, `${JSON.stringify({ at: now(), ...news })}\n`);
  }

  /** From here on, the history is that of another run. */
  moveTo(folder: string): void {
    closeSync(this.file);
    this.file = this.open(folder);
  }

  close(): void {
    if (!this.closed) closeSync(this.file);
    this.closed = true;
  }

  private open(folder: string): number {
    return openSync(join(folder, `${this.who}${EXTENSION}`), 'a');
  }
}

/**
 * Everything that was said in a folder until now, in the order of time. What is written while one file after the other
 * is read is left out: an answer would be seen without the completion that came before it.
 */
export function readHistory(folder: string): Entry[] {
  const until = now();
  const entries: Entry[] = [];
  for (const name of readdirSync(folder)) {
    if (!name.endsWith(EXTENSION)) continue;
    const who = name.slice(0, -EXTENSION.length);
    for (const line of readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)) {
      // A process that was killed may have left half a line.
      if (!line.endsWith('}')) continue;
      const entry = { who, ...JSON.parse(line) } as Entry;
      if (entry.at <= until) entries.push(entry);
    }
  }
  return entries.sort((a, b) => a.at - b.at);
}
