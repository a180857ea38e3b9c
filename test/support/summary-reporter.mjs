import { writeFileSync } from 'node:fs';

/** Time for the global teardown and for what the tests closed without waiting. */
const EXIT_GRACE = 10_000;

/** Closes the run with one line that counts, and sees to it that the run ends. */
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
      console.log(`jest: ${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped`);
    });
    endSoon(failed > 0);
  }
}

/**
 * Leaves the spec files that failed to whoever runs jest, in the file that it names.
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
  }, EXIT_GRACE).unref();
}
