/**
 * `npm run checkout`: from a fresh clone to the running sample and its page. Ctrl-C stops it.
 *
 * It installs and builds only what the shop runs with, into `sample/checkout/.run`, and again only after a change.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { buildShop } from './checkout/build.mjs';
import { installShop } from './checkout/install.mjs';
import { root, SAMPLE, SIGNALS } from './workspace.mjs';

const STOP_TIMEOUT = 10_000;
const folder = join(root, SAMPLE, '.run');

await installShop(folder);
buildShop(folder);

// In a process group of its own, so that each of its processes gets a signal once, from wherever this one gets it.
const sample = spawn(process.execPath, [join(folder, SAMPLE, 'dist/stage/main.js')], {
  cwd: root,
  env: { DATA_DIR: join(root, SAMPLE, 'data'), ...process.env },
  stdio: ['ignore', 'inherit', 'inherit'],
  detached: true,
});
let stopping = false;
for (const signal of SIGNALS) process.on(signal, () => stop(signal));
sample.once('exit', (code) => process.exit(stopping ? 0 : (code ?? 1)));

/** @param {NodeJS.Signals} signal */
function stop(signal) {
  if (stopping) return;
  stopping = true;
  signalGroup(signal);
  setTimeout(() => signalGroup('SIGKILL'), STOP_TIMEOUT).unref();
}

/** @param {NodeJS.Signals} signal */
function signalGroup(signal) {
  if (sample.pid) process.kill(-sample.pid, signal);
}
