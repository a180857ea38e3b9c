import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';

/** Time for the global teardown and for what the tests closed without waiting. */
const EXIT_GRACE_MS = 10_000;

/** The table of slow spec files: for runs of at least so many files, with so many lines. */
const FILES_FOR_A_TABLE = 20;
const SLOWEST = 15;

/** Closes the run with what was slow and one line that counts, and sees to it that the run ends. */
export default class SummaryReporter {
  #watching;

  /** @param {{ watch: boolean, watchAll: boolean }} globalConfig */
  constructor({ watch, watchAll }) {
    this.#watching = watch || watchAll;
  }

  /**
   * @param {unknown} _contexts
   * @param {import('@jest/reporters').AggregatedResult} results
   */
  onRunComplete(_contexts, results) {
    if (this.#watching) return;
    noteFailedFiles(results);
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    // Jest's own reporters still have to print theirs.
    process.once('exit', () => {
      if (results.testResults.length >= FILES_FOR_A_TABLE) console.log(slowFiles(results));
      console.log(`jest: ${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
    });
    endSoon(failed > 0);
  }
}

/**
 * Leaves the spec files that failed to the script that runs jest, in the file that it names.
 *
 * @param {import('@jest/reporters').AggregatedResult} results
 */
function noteFailedFiles({ testResults }) {
  const { FAILED_SPECS_FILE } = process.env;
  if (!FAILED_SPECS_FILE) return;
  const failed = testResults.filter(({ numFailingTests, testExecError }) => numFailingTests > 0 || testExecError);
  writeFileSync(FAILED_SPECS_FILE, JSON.stringify(failed.map(({ testFilePath }) => testFilePath)));
}

/**
 * A failed beforeAll may leave a pool open. The timer alone keeps no process alive.
 *
 * @param {boolean} failed
 */
function endSoon(failed) {
  setTimeout(() => {
    console.error('A test left something open, so the run was cut off.');
    process.exit(failed ? 1 : undefined);
  }, EXIT_GRACE_MS).unref();
}

/**
 * @param {import('@jest/reporters').AggregatedResult} results
 * @returns {string} a table of the folders, and one of the files that took longest
 */
function slowFiles({ testResults }) {
  const files = testResults.map(({ testFilePath, perfStats }) => ({
    file: relative('test', testFilePath).replace(/\.[\w-]*spec\.ts$/, ''),
    ms: perfStats.end - perfStats.start,
  }));
  const totalMs = files.reduce((sum, { ms }) => sum + ms, 0);
  const folders = new Map();
  for (const { file, ms } of files) {
    const folder = file.replace(/\/[^/]*$/, '');
    const { ms: soFar = 0, count = 0 } = folders.get(folder) ?? {};
    folders.set(folder, { ms: soFar + ms, count: count + 1 });
  }
  const line = (/** @type {number} */ ms, /** @type {string} */ text) =>
    `${(ms / 1_000).toFixed(1).padStart(8)} ${((100 * ms) / totalMs).toFixed(1).padStart(6)}  ${text}`;
  return [
    '\n seconds      %  folder',
    ...[...folders].sort(([, a], [, b]) => b.ms - a.ms).map(([name, { ms, count }]) => line(ms, `${name} (${count})`)),
    '\n seconds      %  slowest spec files',
    ...files
      .sort((a, b) => b.ms - a.ms)
      .slice(0, SLOWEST)
      .map(({ file, ms }) => line(ms, file)),
    '',
  ].join('\n');
}
