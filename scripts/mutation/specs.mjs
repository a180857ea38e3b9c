/**
 * Runs spec files again and again in one process, by jest's own test tree and matchers: each is imported once, and so is
 * what it tests. Jest would load Nest and TypeORM again for each spec file of each mutant.
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import 'reflect-metadata';
import { jestExpect } from '@jest/expect';
import { ConsoleLogger, Logger } from '@nestjs/common';
import * as circus from 'jest-circus';

/** A test may take so many milliseconds, and thrice what it took at first. */
const PATIENCE = 4_000;
/** What a test takes of which that is not known yet. */
const LONGEST = 10_000;

/** @typedef {{ id: string, name: string, fileName: string, timeSpentMs: number, failure?: string }} Result */
/** @typedef {import('@jest/types').Circus.TestEntry} Test */
/** @typedef {import('@jest/types').Circus.DescribeBlock} Block */

export class Specs {
  /** @type {Array<{ file: string, tree: Block, tests: Map<string, Test> }>} */
  #specs = [];
  /** @type {WeakMap<Test, string>} */
  #ids = new WeakMap();
  /** How many tests have each name. @type {Map<string, number>} */
  #names = new Map();
  /** What each test took while nothing was changed, in milliseconds. @type {Record<string, number>} */
  times = {};
  /** @type {unknown[]} */
  #stray = [];
  /** @type {(id: string) => void} */
  #onTest = () => undefined;
  #bail = false;

  /** @param {string[]} files */
  async load(files) {
    const { describe, it, test, beforeAll, beforeEach, afterAll, afterEach } = circus;
    Object.assign(globalThis, { describe, it, test, beforeAll, beforeEach, afterAll, afterEach, expect: jestExpect });
    for (const file of files) {
      circus.resetState();
      await import(pathToFileURL(join(process.cwd(), file.replace(/\.ts$/, '.js'))).href);
      const tree = circus.getState().rootDescribeBlock;
      this.#specs.push({ file, tree, tests: new Map(testsOf(tree).map((one) => [this.#identify(file, one), one])) });
    }
    circus.addEventHandler((event) => this.#handle(event));
    for (const name of ['uncaughtException', 'unhandledRejection']) {
      process.on(name, (error) => this.#stray.push(error));
    }
  }

  /**
   * @param {{ only?: Set<string>, bail?: boolean, onTest?: (id: string) => void }} [options] which tests; whether the
   *   first failure ends the run; called with the test whose code runs from here on, or `hooks <test>` for what is done
   *   once for that test and others
   * @returns {Promise<Result[]>}
   */
  async run({ only, bail = false, onTest = () => undefined } = {}) {
    this.#onTest = onTest;
    this.#bail = bail;
    const unknown = [...(only ?? [])].filter((id) => !this.#specs.some(({ tests }) => tests.has(id)));
    // It would not run, and what it notices would count as survived.
    if (unknown.length > 0) throw new Error(`Tests have other names in each process: ${unknown.join(', ')}`);
    const results = [];
    for (const spec of this.#specs) {
      const chosen = [...spec.tests].filter(([id]) => !only || only.has(id));
      if (chosen.length === 0) continue;
      const ran = await this.#runSpec(spec, new Set(chosen.map(([id]) => id)));
      results.push(...ran);
      if (bail && ran.some(({ failure }) => failure !== undefined)) break;
    }
    return results;
  }

  /** Tests of one name are numbered: as one, the first of them would be left out of results, and fail forever once it has. */
  #identify(/** @type {string} */ file, /** @type {Test} */ test) {
    const name = `${file} ${nameOf(test)}`;
    const count = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, count);
    const id = count > 1 ? `${name} (${count})` : name;
    this.#ids.set(test, id);
    return id;
  }

  /** The tests that need a hook: all below its block. @param {string} id of one of them @param {number} depth */
  sharing(id, depth) {
    for (const { tests } of this.#specs) {
      let block = tests.get(id)?.parent;
      while (block?.parent && pathOf(block).length > depth) block = block.parent;
      if (block) return testsOf(block).map((one) => this.#idOf(one));
    }
    return [];
  }

  /** @param {{ file: string, tree: Block, tests: Map<string, Test> }} spec @param {Set<string>} chosen */
  async #runSpec({ file, tree, tests }, chosen) {
    circus.resetState();
    const state = circus.getState();
    state.rootDescribeBlock = state.currentDescribeBlock = tree;
    state.testTimeout = PATIENCE;
    for (const [id, test] of tests) {
      Object.assign(test, { errors: [], status: null, startedAt: null, duration: null, retryReasons: [] });
      if (test.mode !== 'todo') test.mode = chosen.has(id) ? undefined : 'skip';
      test.timeout = PATIENCE + 3 * (this.times[id] ?? LONGEST);
    }
    for (const hook of hooksOf(tree)) hook.timeout = hook.type === 'afterAll' ? PATIENCE : 15_000;
    this.#stray.length = 0;
    Logger.overrideLogger(['error', 'warn']);
    Logger.overrideLogger(new ConsoleLogger());
    this.#tests = tests;
    await circus.run();
    const results = [...tests].filter(([, test]) => test.status === 'done');
    return results.map(([id, test]) => this.#result(file, id, test));
  }

  /** @type {Map<string, Test>} */
  #tests = new Map();

  /** @param {Test} test */
  #idOf(test) {
    return /** @type {string} */ (this.#ids.get(test));
  }

  /** @param {string} file @param {string} id @param {Test} test @returns {Result} */
  #result(file, id, test) {
    const timeSpentMs = test.duration ?? 0;
    const failure = test.errors.length > 0 ? String(messageOf(test.errors[0])) : undefined;
    return { id, name: id, fileName: file, timeSpentMs, failure };
  }

  /** @param {any} event */
  #handle(event) {
    if (event.name === 'test_started') this.#onTest(this.#idOf(event.test));
    if (event.name === 'hook_start' && event.hook.type.endsWith('All')) {
      const block = event.hook.parent;
      const first = testsOf(block)[0];
      this.#onTest(`hooks ${pathOf(block).length} ${this.#idOf(first)}`);
    }
    if (event.name === 'test_fn_success' || event.name === 'test_fn_failure') {
      event.test.errors.push(...this.#stray.splice(0));
    }
    if (event.name === 'test_done' && this.#bail && event.test.errors.length > 0) {
      for (const test of this.#tests.values()) if (test.status !== 'done') test.mode = 'skip';
    }
  }
}

/** @param {any} thrown */
function messageOf(thrown) {
  const error = Array.isArray(thrown) ? (thrown[0] ?? thrown[1]) : thrown;
  return error?.message ?? error;
}

/** @param {Block} block @returns {Test[]} */
function testsOf(block) {
  return block.children.flatMap((child) => (child.type === 'test' ? [child] : testsOf(child)));
}

/** @param {Block} block @returns {any[]} */
function hooksOf(block) {
  return [...block.hooks, ...block.children.flatMap((child) => (child.type === 'describeBlock' ? hooksOf(child) : []))];
}

/** @param {Block} block @returns {string[]} */
function pathOf(block) {
  return block.parent ? [...pathOf(block.parent), block.name] : [];
}

/** @param {Test} test */
function nameOf(test) {
  return [...pathOf(test.parent), test.name].join(' > ');
}
