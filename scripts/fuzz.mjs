/**
 * `npm run fuzz`: the properties of test/fuzz, 100,000 inputs each; `npm run fuzz -- header --runs 1000 --seed 7` tries those of
 * one target. `wire` sends key headers to an application, a tenth as many. A failure prints its input, made as small as it can
 * be, and the seed: put the input into test/fuzz/corpus, which `npm test` tries each time.
 */
import { parseArgs } from 'node:util';
import { ensureDatabases } from './databases.mjs';
import { jest } from './jest.mjs';
import { install } from './workspace.mjs';

const TARGETS = ['header', 'fingerprint', 'heads', 'keys', 'values', 'sealer', 'cli', 'dashboard', 'wire'];

const { values, positionals } = parseArgs({
  options: { runs: { type: 'string', default: '100000' }, seed: { type: 'string' } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !TARGETS.includes(name));
if (unknown !== undefined || !(Number(values.runs) > 0)) {
  console.error(`npm run fuzz -- [${TARGETS.join(' | ')}] [--runs N] [--seed N]`);
  process.exit(2);
}

await install();
/** @type {string[]} */
const failed = [];
for (const target of positionals.length > 0 ? positionals : TARGETS) {
  const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31));
  const startedAt = performance.now();
  console.log(`\n${target}: ${values.runs} runs of each property, seed ${seed}`);
  if (!(await holds(target, seed))) failed.push(`${target} --seed ${seed}`);
  console.log(`${target}: ${Math.round((performance.now() - startedAt) / 1_000)} s`);
}
console.log(failed.length === 0 ? '\nAll properties hold.' : `\nFailed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);

/**
 * @param {string} target
 * @param {string} seed
 */
async function holds(target, seed) {
  const isWire = target === 'wire';
  if (isWire) await ensureDatabases();
  const [project, spec] = isWire ? ['conformance', 'test/conformance/http-fuzz'] : ['unit', 'test/unit/fuzz'];
  Object.assign(process.env, { FUZZ_RUNS: values.runs, FUZZ_SEED: seed, FUZZ_TARGET: target });
  const { passed } = await jest(['--verbose', '--selectProjects', project, '--', spec]);
  return passed;
}
