/** `npm run checkout`: from a fresh clone to the running sample and its page. Ctrl-C stops it. */
import { spawn } from 'node:child_process';
import { buildLibrary, install, root, run, SAMPLE, SIGNALS } from './workspace.mjs';

const STOP_TIMEOUT = 10_000;

await install();
await buildLibrary();
await run('npm', ['run', '--silent', 'build', '-w', SAMPLE]);

// In a process group of its own, so that each of its processes gets a signal once, whoever sends it to this one.
const sample = spawn('npm', ['run', '--silent', 'stage', '-w', SAMPLE, '--', ...process.argv.slice(2)], {
  cwd: root,
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
