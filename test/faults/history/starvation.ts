import { readFileSync } from 'node:fs';
import type { Log } from './log.js';

const LOOK_EVERY = 500;
/** In milliseconds. Less than that is nothing to speak of. */
const WORTH_TELLING = 50;

/** Reports from time to time for how long this process could have run, had there been a processor for it. */
export function watchStarvation(log: Log): NodeJS.Timeout {
  let before = waited();
  return setInterval(() => {
    const now = waited();
    const ms = Math.round(now - before);
    before = now;
    if (ms >= WORTH_TELLING) log.say({ kind: 'starved', ms });
  }, LOOK_EVERY).unref();
}

/** Milliseconds in the queue of a processor: the second field of schedstat (Linux, Documentation/scheduler/sched-stats). */
function waited(): number {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}
