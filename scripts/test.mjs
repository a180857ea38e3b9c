/**
 * `npm test`: from a fresh clone to a verdict. Installs what is missing, builds, tests the samples, then the library.
 * Arguments go to jest and leave the samples' tests out: `npm test -- --selectProjects unit`.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBrowser, ensureDatabases } from './databases.mjs';
import { buildLibrary, install, root, run, SAMPLE, sampleHas, SAMPLES, succeeds } from './workspace.mjs';

const TIME_LIMIT = 20 * 60_000;
const jestArgs = process.argv.slice(2);

await install();
if (!isUnitOnly()) await ensureDatabases();
if (jestArgs.length === 0 && sampleHas(SAMPLE, 'test')) await ensureBrowser();
await buildLibrary();
const failed = jestArgs.length > 0 ? [] : await testSamples();
const jest = await succeeds(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--no-warnings',
    `--import=${pathToFileURL(join(root, 'test/support/end-with-parent.mjs')).href}`,
    join(root, 'node_modules/jest/bin/jest.js'),
    ...jestArgs,
  ],
  { timeout: TIME_LIMIT },
);
for (const sample of failed) console.error(`The tests of ${sample} failed, see above.`);
process.exit(failed.length === 0 && jest ? 0 : 1);

/** @returns {Promise<string[]>} the samples whose tests failed */
async function testSamples() {
  const failures = [];
  for (const sample of SAMPLES) if (!(await testSample(sample))) failures.push(sample);
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
