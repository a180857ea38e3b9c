/** Runs spec files in a tree, and reads the results of their tests. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const TIME_LIMIT_MS = 180_000;

/**
 * @typedef {object} TestResult
 * @property {string} spec
 * @property {string} name
 * @property {'passed' | 'failed'} status
 * @property {boolean} byAssertion whether it failed because of what it expects, and not by a time-out or in its setup
 * @property {string} message the first line of the failure
 *
 * @typedef {object} SpecsResult
 * @property {TestResult[]} tests
 * @property {string | undefined} fault why the run says nothing: a spec that did not load, a run without an end
 * @property {string} output
 */

/**
 * @param {string} folder of the tree
 * @param {readonly string[]} specs paths of spec files
 * @param {string | undefined} names a regular expression
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<SpecsResult>}
 */
export async function runSpecs(folder, specs, names, env) {
  const answer = join(folder, 'results.json');
  rmSync(answer, { force: true });
  const args = [
    '--experimental-vm-modules',
    '--no-warnings',
    `--import=${pathToFileURL(join(folder, 'test/support/end-with-parent.mjs')).href}`,
    'node_modules/jest/bin/jest.js',
    '--config=test/promises/jest.config.mjs',
    '--runInBand',
    '--forceExit',
    '--json',
    `--outputFile=${answer}`,
    ...(names === undefined ? [] : ['--testNamePattern', names]),
    '--runTestsByPath',
    ...specs,
  ];
  const { output, isLate } = await outputOf(folder, args, env);
  if (isLate) return { tests: [], fault: `no end within ${TIME_LIMIT_MS / 1_000} seconds`, output };
  try {
    return { ...resultsIn(JSON.parse(readFileSync(answer, 'utf8')), folder), output };
  } catch {
    return { tests: [], fault: 'jest did not run', output };
  }
}

/**
 * @param {string} cwd
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ output: string, isLate: boolean }>}
 */
function outputOf(cwd, args, env) {
  return new Promise((resolve) => {
    let output = '';
    let isLate = false;
    const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, TIME_LIMIT_MS);
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
    child.once('close', () => {
      clearTimeout(timer);
      resolve({ output, isLate });
    });
  });
}

/**
 * @param {{ testResults: { name: string, message: string, assertionResults: Assertion[] }[] }} json what jest writes
 * @param {string} folder
 *
 * @typedef {object} Assertion
 * @property {string} fullName
 * @property {string} status
 * @property {string[]} failureMessages
 * @property {{ matcherResult?: unknown }[]} failureDetails
 */
function resultsIn({ testResults }, folder) {
  /** @type {TestResult[]} */
  const tests = [];
  let fault;
  for (const { name, assertionResults, message } of testResults) {
    const spec = name.slice(folder.length + 1);
    if (assertionResults.length === 0) fault = `${spec}: ${message.trim().split('\n')[0]}`;
    for (const { fullName, status, failureMessages, failureDetails } of assertionResults) {
      if (status !== 'passed' && status !== 'failed') continue;
      const byAssertion = failureDetails.some((detail) => detail.matcherResult) || failureMessages.some(isAssertion);
      tests.push({ spec, name: fullName, status, byAssertion, message: failureMessages[0]?.split('\n')[0] ?? '' });
    }
  }
  return { tests, fault };
}

/** @param {string} message of a failure: as jest's matchers, fast-check, and what tests wait for in vain begin */
function isAssertion(message) {
  return /expect\(|^Error: (Property failed after|not so within|no such message within|no answer within)/.test(message);
}
