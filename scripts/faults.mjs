/**
 * `npm run test:faults`: the model and the fault lab, from a fresh clone to a verdict.
 * Arguments go to the lab (test/faults/main.ts), which then runs alone. `npm run soak -- --minutes 60`: the lab for that long.
 */
import { randomBytes } from 'node:crypto';
import { ensureDatabases } from './databases.mjs';
import { buildLibrary, install, succeeds } from './workspace.mjs';

const args = process.argv.slice(2);
const soak = args[0] === 'soak';
const labArgs = soak ? withMinutes(args.slice(1)) : args;

await install();
await ensureDatabases();
if (process.env.LAB_DIST !== 'as is') await buildLibrary();
const { compileLab } = await import('./compile-lab.mjs');
const lab = await compileLab();

const runLab = (/** @type {string[]} */ ...given) => succeeds(process.execPath, ['--no-warnings', lab, ...given]);
process.env.SEED ??= randomBytes(4).toString('hex');
// A lab waits for half of its time.
const passed = await Promise.all(
  args.length > 0 ? [runLab(...labArgs)] : [checkModel(), runLab('--part', '1/2'), runLab('--part', '2/2')],
);
process.exit(passed.every(Boolean) ? 0 : 1);

async function checkModel() {
  return process.env.LAB_MODEL === 'checked' || succeeds(process.execPath, ['scripts/model.mjs']);
}

/** @param {string[]} given */
function withMinutes(given) {
  return given.includes('--minutes') ? given : ['--minutes', '10', ...given];
}
