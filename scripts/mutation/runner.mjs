/** A test runner for Stryker: see specs.mjs. */
import { readFileSync, writeFileSync } from 'node:fs';
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';
import {
  DryRunStatus,
  TestStatus,
  toMutantRunResult,
  determineHitLimitReached,
} from '@stryker-mutator/api/test-runner';
import { Specs } from './specs.mjs';

const globals = /** @type {any} */ (globalThis);
const TIMES = 'mutation-test-times.json';
const HOOKS = /^hooks (\d+) (.*)$/s;

/** @typedef {import('@stryker-mutator/api/test-runner').TestRunner} TestRunner */
/** @implements {TestRunner} */
class InProcessRunner {
  #specs = new Specs();
  /** @type {import('@stryker-mutator/api/core').InstrumenterContext} */
  #stryker = (globals.__stryker__ ??= {});

  capabilities() {
    // What was imported stays.
    return { reloadEnvironment: false };
  }

  async init() {
    await this.#specs.load(JSON.parse(process.env.MUTATION_SPECS ?? '[]'));
  }

  /** @returns {Promise<import('@stryker-mutator/api/test-runner').CompleteDryRunResult>} */
  async dryRun() {
    const results = await this.#specs.run({ onTest: (id) => (this.#stryker.currentTestId = id) });
    const times = Object.fromEntries(results.map(({ id, timeSpentMs }) => [id, timeSpentMs]));
    // For the other workers, which share the working directory and have not seen this run.
    writeFileSync(TIMES, JSON.stringify(times));
    return { status: DryRunStatus.Complete, tests: results.map(toTestResult), mutantCoverage: this.#coverage() };
  }

  /** @param {import('@stryker-mutator/api/test-runner').MutantRunOptions} options */
  async mutantRun({ activeMutant, testFilter, disableBail, hitLimit }) {
    Object.assign(this.#stryker, { activeMutant: activeMutant.id, hitLimit, hitCount: hitLimit ? 0 : undefined });
    if (Object.keys(this.#specs.times).length === 0) this.#specs.times = JSON.parse(readFileSync(TIMES, 'utf8'));
    const results = await this.#specs.run({ only: testFilter && new Set(testFilter), bail: !disableBail });
    const timeout = determineHitLimitReached(this.#stryker.hitCount, hitLimit);
    // What a failed test left behind may end before the next mutant is there.
    if (results.some(({ failure }) => failure !== undefined)) await new Promise((resolve) => setTimeout(resolve, 20));
    return toMutantRunResult(timeout ?? { status: DryRunStatus.Complete, tests: results.map(toTestResult) }, false);
  }

  /** What was hit by a hook that is shared is hit by all the tests that share it. */
  #coverage() {
    const coverage = this.#stryker.mutantCoverage ?? { static: {}, perTest: {} };
    for (const [id, hits] of Object.entries(coverage.perTest)) {
      const [, depth, test] = HOOKS.exec(id) ?? [];
      if (depth === undefined) continue;
      delete coverage.perTest[id];
      for (const sharer of this.#specs.sharing(test, Number(depth))) {
        const own = (coverage.perTest[sharer] ??= {});
        for (const [mutant, count] of Object.entries(hits)) own[mutant] = (own[mutant] ?? 0) + count;
      }
    }
    return coverage;
  }
}

/** @param {import('./specs.mjs').Result} result @returns {import('@stryker-mutator/api/test-runner').TestResult} */
function toTestResult({ failure, ...test }) {
  return failure === undefined
    ? { ...test, status: TestStatus.Success }
    : { ...test, status: TestStatus.Failed, failureMessage: failure };
}

export const strykerPlugins = [declareValuePlugin(PluginKind.TestRunner, 'in-process', new InProcessRunner())];
