/** Breaks promises, several at a time, and judges what their specs say of that. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { specFile } from '../../test/promises/page.mjs';
import { REDIS_NODES } from '../../test/support/global-setup.mjs';
import { startRedis, startTogether } from '../../test/support/servers.mjs';
import { runSpecs } from './run-specs.mjs';
import { Tree } from './tree.mjs';

/** What an ordinary request does has to go on under every patch: a library that is broken altogether fails any spec. */
const BASELINE = 'test/promises/baseline.e2e-spec.ts';
const BASELINE_NAME = 'an ordinary request';

/**
 * @typedef {import('../../test/promises/table.mjs').Promised} Promised
 * @typedef {import('./run-specs.mjs').SpecsResult} SpecsResult
 * @typedef {{ isShown: boolean, lines: string[] }} Verdict
 *
 * @typedef {object} Bench where specs are run, one at a time
 * @property {Tree} tree
 * @property {NodeJS.ProcessEnv} env Redis nodes of its own: a spec that runs on two benches at once would meet itself there
 */

export class Prover {
  /** What the specs say of the library as it is. @type {Map<string, Promise<SpecsResult>>} */
  #asItIs = new Map();

  /** @param {string} folder of the trees */
  constructor(folder) {
    this.folder = folder;
  }

  /**
   * Judges each promise.
   *
   * @param {readonly Promised[]} promises
   * @param {number} jobs how many at a time
   * @param {(verdict: Verdict) => void} onVerdict
   */
  prove(promises, jobs, onVerdict) {
    const names = namesOf(promises);
    return this.#onBenches(promises, jobs, async (promised, bench) =>
      onVerdict(await this.#verdict(promised, names, bench)),
    );
  }

  /**
   * Says of each promise which tests of some specs notice that it is broken.
   *
   * @param {readonly Promised[]} promises
   * @param {number} jobs
   * @param {string[]} specs
   * @param {(verdict: Verdict) => void} onVerdict
   */
  explore(promises, jobs, specs, onVerdict) {
    const files = specs.map(specFile);
    return this.#onBenches(promises, jobs, async ({ section, promise, broken }, bench) => {
      const { tests, fault } = await this.#broken(bench, broken, files, undefined);
      const failed = tests.filter(({ status }) => status === 'failed');
      const lines = failed.map(
        ({ name, byAssertion, message }) => `  ${byAssertion ? '' : 'ERROR '}${name}: ${message}`,
      );
      const head = `${section}: ${promise}: ${failed.length} of ${tests.length} tests notice${fault ? `; ${fault}` : ''}`;
      onVerdict({ isShown: failed.length > 0, lines: [head, ...lines] });
    });
  }

  /**
   * @param {readonly Promised[]} promises
   * @param {number} jobs
   * @param {(promised: Promised, bench: Bench) => Promise<void>} work
   */
  async #onBenches(promises, jobs, work) {
    const queue = [...promises];
    const worker = async (/** @type {unknown} */ _, /** @type {number} */ i) => {
      const redis = await startTogether(Array.from({ length: REDIS_NODES }, () => startRedis()));
      const tree = new Tree(join(this.folder, `tree-${i + 1}`));
      // Fewer cases of what is random.
      const ports = redis.map(({ port }) => port).join(',');
      const env = { ...process.env, TEST_REDIS_PORTS: ports, PROPERTY_RUNS: '25', FUZZ_RUNS: '300' };
      try {
        for (let next = queue.shift(); next; next = queue.shift()) await work(next, { tree, env });
      } finally {
        tree.remove();
        await Promise.all(redis.map((node) => node.dispose()));
      }
    };
    await Promise.all(Array.from({ length: jobs }, worker));
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * @param {Promised} promised
   * @param {Map<string, string | undefined>} names of tests, by spec file
   * @param {Bench} bench
   * @returns {Promise<Verdict>}
   */
  async #verdict({ section, promise, broken, shownBy }, names, bench) {
    const files = [...new Set(shownBy.map(({ spec }) => specFile(spec)))];
    const faults = [];
    for (const file of files) faults.push(...faultsAsItIs(file, await this.#specAsItIs(bench, file, names.get(file))));
    const asked = pattern([...shownBy.map(({ test }) => test), BASELINE_NAME]);
    const startedAt = performance.now();
    const result = await this.#broken(bench, broken, [...files, BASELINE], asked);
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    faults.push(...faultsOf(shownBy, result));
    const isShown = faults.length === 0;
    const specs = shownBy.map(({ spec }) => spec).join(', ');
    const head = `${isShown ? 'shown    ' : 'NOT SHOWN'}  ${section}: ${promise}  (${specs}, ${seconds} s)`;
    const output = !isShown && process.env.VERBOSE ? [result.output] : [];
    return { isShown, lines: [head, ...faults.map((fault) => `           ${fault}`), ...output] };
  }

  /**
   * @param {Bench} bench
   * @param {string} file
   * @param {string | undefined} names
   */
  #specAsItIs({ tree, env }, file, names) {
    let run = this.#asItIs.get(file);
    if (!run) this.#asItIs.set(file, (run = runSpecs(tree.folder, [file], names, env)));
    return run;
  }

  /**
   * @param {Bench} bench
   * @param {Promised['broken']} patches
   * @param {string[]} files
   * @param {string | undefined} names
   */
  async #broken({ tree, env }, patches, files, names) {
    try {
      await tree.break(patches);
      return await runSpecs(tree.folder, files, names, env);
    } finally {
      tree.mend();
    }
  }
}

/**
 * What each spec file is asked for without a patch: all that the promises name of it.
 *
 * @param {readonly Promised[]} promises
 */
function namesOf(promises) {
  const shownBy = promises.flatMap((one) => one.shownBy);
  const files = new Set(shownBy.map(({ spec }) => specFile(spec)));
  return new Map(
    [...files].map((file) => {
      const tests = shownBy.filter(({ spec }) => specFile(spec) === file).map(({ test }) => test);
      return [file, pattern(tests)];
    }),
  );
}

/** @param {(string | undefined)[]} tests @returns {string | undefined} none where a spec is named as a whole */
function pattern(tests) {
  if (tests.includes(undefined)) return undefined;
  const escaped = tests.map((test) => /** @type {string} */ (test).replace(/[$()*+.?[\\\]^{|}]/g, '\\$&'));
  return [...new Set(escaped)].join('|');
}

/**
 * @param {string} file
 * @param {SpecsResult} result
 */
function faultsAsItIs(file, { tests, fault }) {
  if (fault) return [`without the patch: ${fault}`];
  if (tests.length === 0) return [`without the patch: no test of ${file} has such a name`];
  const failed = tests.filter(({ status }) => status === 'failed');
  return failed.map(({ name, message }) => `without the patch: ${name} fails: ${message}`);
}

/**
 * @param {Promised['shownBy']} shownBy
 * @param {SpecsResult} result
 */
function faultsOf(shownBy, { tests, fault }) {
  if (fault) return [`with the patch: ${fault}`];
  const baseline = tests.filter(({ spec }) => spec === BASELINE);
  const faults = baseline
    .filter(({ status }) => status === 'failed')
    .map(({ name, message }) => `with the patch, nothing works any more: ${name}: ${message}`);
  if (baseline.length === 0) faults.push(`${BASELINE} was not run`);
  for (const { spec, test } of shownBy) {
    const named = tests.filter((one) => one.spec === specFile(spec) && (test === undefined || one.name.includes(test)));
    const failed = named.filter(({ status }) => status === 'failed');
    if (named.length === 0) faults.push(`no test of ${spec} has the name "${test}"`);
    else if (failed.length === 0) faults.push(`${spec} passes on broken code`);
    else if (!failed.some(({ byAssertion }) => byAssertion)) {
      faults.push(`${spec} fails by no expectation: ${failed[0].message}`);
    }
  }
  return faults;
}
