/**
 * `npm run test:mutation`: changes lib/engine, lib/edges and lib/store in one place at a time, and counts how many of
 * the changes a test notices. `npm run test:mutation -- lib/engine/leased-execution.ts` does so with one file, or with some lines of
 * it (`lib/engine/leased-execution.ts:20-40`). With `--resume` it takes what reports/mutation has already, as after an
 * interruption. Fails below a score of 85 %.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { Stryker } from '@stryker-mutator/core';
import globalSetup from '../test/support/global-setup.mjs';
import globalTeardown from '../test/support/global-teardown.mjs';
import { ensureDatabases } from './databases.mjs';
import { filesOf, NOTHING_TO_MUTATE, PARTS } from './mutation/plan.mjs';
import { count, print } from './mutation/table.mjs';
import { root } from './workspace.mjs';

const LOWEST_SCORE = 85;

const { values: flags, positionals: asked } = parseArgs({
  options: { resume: { type: 'boolean', default: false } },
  allowPositionals: true,
});
process.chdir(root);
await ensureDatabases();
await globalSetup();
// Fewer cases of what is random.
Object.assign(process.env, { PROPERTY_RUNS: '8', FUZZ_RUNS: '100' });
try {
  const counts = [];
  for (const part of PARTS) {
    const mutate = filesOf(part, asked);
    if (mutate.length === 0) continue;
    counts.push(count(part.name, await measure(part, mutate)));
  }
  process.exitCode = print(counts) >= LOWEST_SCORE ? 0 : 1;
} finally {
  await globalTeardown();
}

/**
 * @param {import('./mutation/plan.mjs').Part} part
 * @param {string[]} mutate
 */
async function measure({ name, quick, slow }, mutate) {
  const results = await mutated(name, mutate, quick);
  const left = results.filter(({ status }) => status === 'Survived' || status === 'NoCoverage');
  if (left.length === 0 || slow.length === 0) return results;
  const again = new Map(
    (await mutated(`${name}-again`, left.map(rangeOf), slow)).map((result) => [identityOf(result), result]),
  );
  return results.map((result) => (left.includes(result) ? (again.get(identityOf(result)) ?? result) : result));
}

/** @typedef {import('@stryker-mutator/api/core').MutantResult} Result */

/** @param {Result} result as Stryker takes it: columns from 0, where it reports them from 1 */
function rangeOf({ fileName, location: { start, end } }) {
  const file = relative(root, fileName);
  return `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`;
}

/** @param {Result} result */
function identityOf(result) {
  return `${rangeOf(result)} ${result.mutatorName} ${result.replacement}`;
}

/**
 * @param {string} name of the report
 * @param {string[]} mutate
 * @param {string[]} specs
 */
async function mutated(name, mutate, specs) {
  const fileName = `reports/mutation/${name.replaceAll('/', '-')}.json`;
  if (flags.resume && existsSync(fileName)) return resultsIn(fileName);
  process.env.MUTATION_SPECS = JSON.stringify(specs.flatMap(specsOf));
  return new Stryker({
    mutate: [...mutate, ...NOTHING_TO_MUTATE.map((pattern) => `!${pattern}`)],
    ignorePatterns: ['/bench', '/dist', '/docs', '/etc', '/reports', '/sample', '/test/.built'],
    buildCommand: 'node scripts/mutation/compile.mjs',
    testRunner: 'in-process',
    plugins: [join(root, 'scripts/mutation/runner.mjs')],
    coverageAnalysis: 'perTest',
    // What happens but once a process would take a process for each mutant.
    ignoreStatic: true,
    disableTypeChecks: false,
    concurrency: Number(process.env.MUTATION_WORKERS ?? 2),
    maxTestRunnerReuse: 200,
    timeoutMS: 60_000,
    // The slow specs of a part take longer than the default of five minutes beside other work.
    dryRunTimeoutMinutes: 30,
    // Not below a folder whose name begins with a dot: Express sends no file from there.
    tempDirName: 'reports/mutation/sandboxes',
    reporters: ['progress-append-only', 'json'],
    jsonReporter: { fileName },
    allowEmpty: true,
  }).runMutationTest();
}

/** @param {string} report @returns {Result[]} */
function resultsIn(report) {
  const { files } = JSON.parse(readFileSync(report, 'utf8'));
  return Object.entries(files).flatMap(([fileName, { mutants }]) =>
    mutants.map((/** @type {Result} */ mutant) => ({ ...mutant, fileName })),
  );
}

/** @param {string} path the beginning of spec files' paths, or a folder of theirs at any depth */
function specsOf(path) {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory();
  const folder = isFolder ? path : join(path, '..');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
  const specs = files.filter((file) => file.startsWith(path) && file.endsWith('spec.ts')).sort();
  // Without its spec files, a plan would count what they notice as not noticed.
  if (specs.length === 0) throw new Error(`scripts/mutation/plan.mjs names ${path}, where no spec file is`);
  return specs;
}
