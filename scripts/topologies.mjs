/**
 * `npm run test:topologies`: clusters of real database servers, faults in them, and applications that go on meanwhile.
 * `-- patroni galera` runs these topologies only, `--short` the form that CI runs, `--only 'kill primary'` the scenarios whose
 * name matches that, `--times 5` those of patroni so often. Each folder of test/topologies with a main.ts is a topology; its
 * requirements.mjs names the servers.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureServers } from './databases.mjs';
import { buildLibrary, install, root, succeeds } from './workspace.mjs';

const FOLDER = 'test/topologies';
const TO = 'test/.built/topologies';
/** What topologies consist of, and what they share with the fault lab. */
const SOURCES = [FOLDER, 'test/support', 'test/faults/lab/random.ts'];

const WITH_VALUES = new Set(['--only', '--times']);

const all = readdirSync(join(root, FOLDER)).filter((name) => existsSync(join(root, FOLDER, name, 'main.ts')));
const given = process.argv.slice(2).filter((arg) => arg !== '--yes');
const named = given.filter((arg, i) => !arg.startsWith('--') && !WITH_VALUES.has(given[i - 1]));
const options = given.filter((arg) => !named.includes(arg));
const unknown = named.filter((name) => !all.includes(name));
if (unknown.length) {
  console.error(`No topology is called ${unknown.join(' or ')}. There are: ${all.join(', ')}.`);
  process.exit(1);
}
const chosen = named.length ? named : all;

await install();
await ensureServers((await Promise.all(chosen.map(requirementsOf))).flat());
if (process.env.LAB_DIST !== 'as is') await buildLibrary();
const { compileSources } = await import('./compile-lab.mjs');
const built = await compileSources(TO, SOURCES);

const failed = [];
for (const name of chosen) {
  const main = join(built, FOLDER, name, 'main.js');
  if (!(await succeeds(process.execPath, ['--no-warnings', main, ...options]))) failed.push(name);
}
const passed = chosen.length - failed.length;
console.log(`\ntopologies: ${passed} passed, ${failed.length} failed${failed.length ? ` (${failed.join(', ')})` : ''}`);
process.exit(failed.length ? 1 : 0);

/** @param {string} name */
async function requirementsOf(name) {
  const file = join(root, FOLDER, name, 'requirements.mjs');
  if (!existsSync(file)) return [];
  /** @type {{ REQUIREMENTS: import('../test/support/binaries.mjs').Requirement[] }} */
  const { REQUIREMENTS } = await import(file);
  return REQUIREMENTS;
}
