/**
 * `npm run test:trust -- --times 10 --busy 3`: all spec files ten times, beside three processes that keep a core busy each. Prints
 * which spec files failed, and how often; fails if one did. Arguments after another `--` go to jest, such as folders.
 */
import { spawn } from 'node:child_process';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureDatabasesAndBrowser } from './databases.mjs';
import { jest } from './jest.mjs';
import { buildLibrary, install, root } from './workspace.mjs';

const RUN_LIMIT_MS = 90 * 60_000;
/** Ends with the process that started it, however that ended. */
const BUSY = 'const parent = process.ppid; while (process.ppid === parent);';

const { values, positionals } = parseArgs({
  options: { times: { type: 'string', default: '10' }, busy: { type: 'string', default: '3' } },
  allowPositionals: true,
});
const times = Number(values.times);

await install();
await ensureDatabasesAndBrowser();
await buildLibrary();

const busy = Array.from({ length: Number(values.busy) }, () =>
  spawn(process.execPath, ['-e', BUSY], { stdio: 'ignore' }),
);
process.once('exit', () => busy.forEach((child) => child.kill('SIGKILL')));

/** @type {Map<string, number[]>} the runs that a spec file failed in */
const failures = new Map();
const minutes = [];
for (let run = 1; run <= times; run++) {
  const startedAt = performance.now();
  const { passed, failedSpecs } = await jest(positionals, RUN_LIMIT_MS);
  const failed = failedSpecs.length > 0 || passed ? failedSpecs : ['(the run did not end)'];
  for (const spec of failed) failures.set(spec, [...(failures.get(spec) ?? []), run]);
  minutes.push((performance.now() - startedAt) / 60_000);
  console.log(`run ${run} of ${times}: ${failed.length} spec files failed, ${minutes.at(-1)?.toFixed(1)} minutes`);
}

console.log(
  `\n${times} runs beside ${busy.length} busy processes, ${(minutes.reduce((a, b) => a + b) / times).toFixed(1)} minutes each`,
);
for (const [spec, runs] of [...failures].sort(([, a], [, b]) => b.length - a.length)) {
  console.log(`${String(runs.length).padStart(4)}  ${relative(root, spec)}  (run ${runs.join(', ')})`);
}
console.log(failures.size === 0 ? 'No spec file failed.' : `${failures.size} spec files failed at least once.`);
process.exit(failures.size === 0 ? 0 : 1);
