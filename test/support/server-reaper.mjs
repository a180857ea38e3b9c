/**
 * A process beside the test run that outlives it by a moment: when the run is gone, however it died, the servers it had
 * started and their folders go too. Each line of its input names a folder and the process that works in it, if any.
 */
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** @type {Map<string, number | undefined>} */
const servers = new Map();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);

for await (const line of createInterface({ input: process.stdin })) {
  const { folder, pid, gone } = JSON.parse(line);
  if (gone) servers.delete(folder);
  else servers.set(folder, pid);
}

// PostgreSQL takes its own children and its shared memory along on SIGQUIT, not on SIGKILL.
const deadline = Date.now() + 3000;
signalAll('SIGQUIT');
while (signalAll(0) > 0 && Date.now() < deadline) await sleep(50);
signalAll('SIGKILL');
for (const folder of servers.keys()) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });

/**
 * @param {NodeJS.Signals | 0} signal
 * @returns {number} how many were alive to get it
 */
function signalAll(signal) {
  let alive = 0;
  for (const pid of servers.values()) {
    try {
      if (pid && process.kill(pid, signal)) alive++;
    } catch {
      // it is gone
    }
  }
  return alive;
}
