/**
 * `npm test`: from a fresh clone to a verdict. Installs what is missing, builds, tests the samples, then the library.
 * Arguments go to jest and leave the samples' tests out: `npm test -- --selectProjects unit`. System packages that are missing
 * are installed after a question, which `--yes` and CI answer.
 *
 * With CI=true, spec files that failed are run a second time, and named at the end: a test that holds only on an idle machine
 * is to be mended next, and not to stop what it has nothing to do with.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureDatabasesAndBrowser } from './databases.mjs';
import { buildLibrary, install, root, run, sampleHas, SAMPLES, succeeds } from './workspace.mjs';

const TIME_LIMIT = 25 * 60_000;
const MOST_RUN_AGAIN = 6;
const jestArgs = process.argv.slice(2);

await install();
if (!isUnitOnly()) await ensureDatabasesAndBrowser();
await buildLibrary();
const failed = jestArgs.length > 0 ? [] : await testSamples();
const folder = mkdtempSync(join(tmpdir(), 'idempotency-tests-'));
const failedSpecs = join(folder, 'failed.json');
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
let passed = await jest(jestArgs);
const again = passed ? [] : specsToRunAgain();
if (again.length > 0) {
  console.log(`\nRun a second time:\n  ${again.join('\n  ')}`);
  passed = await jest([...jestArgs, '--runTestsByPath', ...again]);
  if (passed) console.log(`Passed the second time, and to be mended:\n  ${again.join('\n  ')}`);
}
for (const sample of failed) console.error(`The tests of ${sample} failed, see above.`);
process.exit(failed.length === 0 && passed ? 0 : 1);

/** @param {string[]} args */
function jest(args) {
  process.env.FAILED_SPECS_FILE = failedSpecs;
  return succeeds(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--no-warnings',
      `--import=${pathToFileURL(join(root, 'test/support/end-with-parent.mjs')).href}`,
      join(root, 'node_modules/jest/bin/jest.js'),
      ...args,
    ],
    { timeout: TIME_LIMIT },
  );
}

/** Few files: where many fail, something is wrong that a second run only hides. */
function specsToRunAgain() {
  if (process.env.CI !== 'true' || !existsSync(failedSpecs)) return [];
  /** @type {string[]} */
  const files = JSON.parse(readFileSync(failedSpecs, 'utf8'));
  return files.length <= MOST_RUN_AGAIN ? files : [];
}

/** @returns {Promise<string[]>} the samples whose tests failed */
async function testSamples() {
  const failures = [];
  for (const sample of SAMPLES) {
    const isDone = (await testSample(sample)) || (process.env.CI === 'true' && (await testSample(sample)));
    if (!isDone) failures.push(sample);
  }
  return failures;
}

/** @param {string} sample */
async function testSample(sample) {
  if (!sampleHas(sample, 'test')) return true;
  if (sampleHas(sample, 'build') && !sampleHas(sample, 'pretest')) {
    await run('npm', ['run', '--silent', 'build', '-w', sample]);
  }
  console.log(`> npm test -w ${sample}`);
  return succeeds('npm', ['test', '--silent', '-w', sample], { timeout: TIME_LIMIT });
}

function isUnitOnly() {
  const option = jestArgs.indexOf('--selectProjects');
  return option >= 0 && jestArgs[option + 1] === 'unit' && (jestArgs[option + 2] ?? '-').startsWith('-');
}
