import { setTimeout as sleep } from 'node:timers/promises';

const PAUSE = 5;

/**
 * Waits until something is so, which a busy machine may take long to do: tests wait for what they need, and never for an
 * amount of time. Fails after `limitMs`, twenty seconds by default, naming what it waited for.
 *
 * @param pauseMs between two looks: more where a look costs the one that is looked at
 */
export async function until(isSo: () => unknown, limitMs = 20_000, pauseMs = PAUSE): Promise<void> {
  for (const giveUpAt = performance.now() + limitMs; !(await isSo()); await sleep(pauseMs)) {
    if (performance.now() > giveUpAt) throw new Error(`not so within ${limitMs} ms: ${String(isSo)}`);
  }
}
