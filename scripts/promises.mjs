/**
 * `npm run test:promises`: breaks each promise of docs/guarantees.md by a small patch, in a copy of the tree, and runs the spec
 * that the page names. It has to pass without the patch, and to fail with it, by what it expects.
 *
 * `-- <filter>` takes the promises whose section, text or spec contains the filter. `-- <filter> --try <spec>` runs another
 * spec on their patches, and lists which of its tests notice. `-- page` writes the "Shown by" lines.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import globalSetup from '../test/support/global-setup.mjs';
import globalTeardown from '../test/support/global-teardown.mjs';
import { PAGE, withShownBy } from '../test/promises/page.mjs';
import { PROMISES } from '../test/promises/table.mjs';
import { ensureDatabases } from './databases.mjs';
import { Prover } from './promises/prover.mjs';
import { buildLibrary, install, root } from './workspace.mjs';

const { filter, tried, jobs, isPage } = options(process.argv.slice(2));
if (isPage) {
  const path = join(root, PAGE);
  writeFileSync(path, withShownBy(readFileSync(path, 'utf8')));
  process.exit(0);
}

const chosen = PROMISES.filter(({ section, promise, shownBy }) =>
  [section, promise, ...shownBy.map(({ spec }) => spec)].some((text) => text.toLowerCase().includes(filter)),
);
if (chosen.length === 0) {
  console.error(`No promise has "${filter}" in its section, its text or the path of a spec.`);
  process.exit(1);
}

process.chdir(root);
await install();
await ensureDatabases();
await buildLibrary();
const startedAt = performance.now();
await globalSetup();
let failures = 0;
const onVerdict = (/** @type {import('./promises/prover.mjs').Verdict} */ { isShown, lines }) => {
  if (!isShown) failures++;
  for (const line of lines) console.log(line);
};
const prover = new Prover(join(root, 'reports/promises', String(process.pid)));
try {
  await (tried ? prover.explore(chosen, jobs, tried, onVerdict) : prover.prove(chosen, jobs, onVerdict));
} finally {
  await globalTeardown();
}
const seconds = Math.round((performance.now() - startedAt) / 1_000);
const time = `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
console.log(`promises: ${chosen.length - failures} shown, ${failures} not shown, in ${time}`);
process.exit(failures > 0 ? 1 : 0);

/** @param {string[]} args */
function options(args) {
  const valueOf = (/** @type {string} */ name) => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : args.splice(at, 2)[1];
  };
  const tried = valueOf('--try');
  const jobs = Number(valueOf('--jobs') ?? 2);
  const [filter = ''] = args;
  return { filter: filter.toLowerCase(), tried: tried?.split(','), jobs, isPage: filter === 'page' };
}
