/**
 * `npm test`: from a fresh clone to a verdict. Installs what is missing, builds, tests the samples beside the library, and ends with
 * what was slow. See HELP for its arguments. System packages that are missing are installed after a question, which `--yes` and CI
 * answer.
 *
 * With CI=true, spec files that failed are run a second time, and named at the end: a test that holds only on an idle machine
 * is to be mended next, and not to stop what it has nothing to do with.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { changedFiles, specsTouchedBy } from './changed.mjs';
import { ensureDatabasesAndBrowser } from './databases.mjs';
import { jest } from './jest.mjs';
import { buildLibrary, install, sampleHas, SAMPLES, succeeds } from './workspace.mjs';

const HELP = `npm test                      the samples' tests, and every jest project
npm test -- --changed         the spec files that a change can touch: what differs from where the branch left main,
                              committed or not; --changed=<commit> compares with another commit
npm test -- <jest arguments>  jest with these arguments: npm test -- --selectProjects e2e -t replay
npm test -- --yes             installs missing system packages without asking

--changed finds what imports a file that changed, and what runs it in a process of its own or reads it. It does not cover
the samples' tests, test:faults, types, lint and format.`;

const TIME_LIMIT = 25 * 60_000;
const MOST_RUN_AGAIN = 6;
const given = process.argv.slice(2);
if (given.includes('--help')) {
  console.log(HELP);
  process.exit();
}
const jestArgs = given.flatMap((argument) => (/^--changed(=|$)/.test(argument) ? changed(argument) : [argument]));

await install();
if (!isUnitOnly()) await ensureDatabasesAndBrowser();
await buildLibrary();
// `.ci/run` checks types beside the tests, once there is something to check.
if (process.env.BUILT_FILE) writeFileSync(process.env.BUILT_FILE, '');
const folder = mkdtempSync(join(tmpdir(), 'idempotency-tests-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
// Both wait much of their time.
const samples = given.length > 0 ? [] : testSamples();
let { passed, failedSpecs: again } = await jest(jestArgs, TIME_LIMIT);
const failed = await samples;
// Few files: where many fail, something is wrong that a second run only hides.
if (process.env.CI && again.length > 0 && again.length <= MOST_RUN_AGAIN) {
  console.log(`\nRun a second time:\n  ${again.join('\n  ')}`);
  const chosen = jestArgs.includes('--findRelatedTests') ? [] : jestArgs;
  ({ passed } = await jest([...chosen, '--runTestsByPath', ...again], TIME_LIMIT));
  if (passed) console.log(`Passed the second time, and to be mended:\n  ${again.join('\n  ')}`);
}
for (const sample of failed) console.error(`The tests of ${sample} failed, see above.`);
process.exit(failed.length === 0 && passed ? 0 : 1);

/** @returns {Promise<string[]>} the samples whose tests failed */
async function testSamples() {
  const failures = [];
  for (const sample of SAMPLES.filter((one) => sampleHas(one, 'test'))) {
    const isDone = (await testSample(sample)) || (process.env.CI && (await testSample(sample)));
    if (!isDone) failures.push(sample);
  }
  return failures;
}

/**
 * What it prints comes at once, when it has ended: jest prints meanwhile.
 *
 * @param {string} sample
 */
async function testSample(sample) {
  const startedAt = performance.now();
  const log = openSync(join(folder, 'sample.log'), 'w+');
  /** @type {import('node:child_process').StdioOptions} */
  const stdio = ['ignore', log, log];
  const quietly = { timeout: TIME_LIMIT, stdio };
  const build = ['run', '--silent', 'build', '-w', sample];
  const hasToBeBuilt = sampleHas(sample, 'build') && !sampleHas(sample, 'pretest');
  const isBuilt = !hasToBeBuilt || (await succeeds('npm', build, quietly));
  const passed = isBuilt && (await succeeds('npm', ['test', '--silent', '-w', sample], quietly));
  closeSync(log);
  if (!passed) console.error(readFileSync(join(folder, 'sample.log'), 'utf8'));
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(`${passed ? 'PASS' : 'FAIL'} npm test -w ${sample} (${seconds} s)`);
  return passed;
}

/**
 * @param {string} argument
 * @returns {string[]} arguments for jest
 */
function changed(argument) {
  const { fork, files } = changedFiles(argument.split('=')[1]);
  const specs = specsTouchedBy(files);
  console.log(`${files.length} files differ from ${fork}${specs ? '' : ': one of them can touch every spec file'}.`);
  return specs ?? [];
}

function isUnitOnly() {
  const option = jestArgs.indexOf('--selectProjects');
  return option >= 0 && jestArgs[option + 1] === 'unit' && (jestArgs[option + 2] ?? '-').startsWith('-');
}
