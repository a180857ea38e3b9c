/**
 * `npm test`: from a fresh clone to a verdict. Installs what is missing, builds, tests the sample, then the library.
 * Arguments go to jest and leave the sample's tests out: `npm test -- --selectProjects unit`.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBrowser, ensureDatabases } from './databases.mjs';
import { buildLibrary, install, root, run, SAMPLE, sampleHas, succeeds } from './workspace.mjs';

const TIME_LIMIT = 20 * 60_000;
const jestArgs = process.argv.slice(2);

await install();
if (!isUnitOnly()) await ensureDatabases();
if (jestArgs.length === 0 && sampleHas('test')) await ensureBrowser();
await buildLibrary();
const sample = jestArgs.length > 0 || (await testSample());
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
if (!sample) console.error(`The tests of ${SAMPLE} failed, see above.`);
process.exit(sample && jest ? 0 : 1);

async function testSample() {
  if (!sampleHas('test')) return true;
  if (sampleHas('build') && !sampleHas('pretest')) await run('npm', ['run', '--silent', 'build', '-w', SAMPLE]);
  console.log(`> npm test -w ${SAMPLE}`);
  return succeeds('npm', ['test', '--silent', '-w', SAMPLE], { timeout: TIME_LIMIT });
}

function isUnitOnly() {
  const option = jestArgs.indexOf('--selectProjects');
  return option >= 0 && jestArgs[option + 1] === 'unit' && (jestArgs[option + 2] ?? '-').startsWith('-');
}
