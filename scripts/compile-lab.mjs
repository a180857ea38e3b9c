/** Compiles the fault lab, so that its many processes start quickly. Needs what `npm ci` installs. */
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compileModule } from '../test/support/swc.mjs';
import { root } from './workspace.mjs';

const TO = 'test/.built/lab';
/** What the lab consists of, and what of the library it uses beside the package. */
const SOURCES = ['test/faults', 'test/support', 'lib/engine/identity.ts', 'lib/testing/points.ts'];

/** @returns {Promise<string>} the program's path */
export async function compileLab() {
  return join(await compileSources(TO, SOURCES), 'test/faults/main.js');
}

/**
 * Compiles files and folders into a folder of their own, where they keep their paths.
 *
 * @param {string} folder
 * @param {string[]} sources
 * @returns {Promise<string>} the folder's path
 */
export async function compileSources(folder, sources) {
  rmSync(join(root, folder), { recursive: true, force: true });
  for (const source of sources.flatMap(filesOf)) {
    const to = join(root, folder, source);
    mkdirSync(dirname(to), { recursive: true });
    const from = join(root, source);
    if (source.endsWith('.ts')) writeFileSync(to.replace(/\.ts$/, '.js'), await compileModule(from));
    else cpSync(from, to);
  }
  return join(root, folder);
}

/**
 * @param {string} path
 * @returns {string[]}
 */
function filesOf(path) {
  if (path.endsWith('.ts')) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mjs)$/.test(entry.name) && !/\.(e2e-)?spec\.ts$/.test(entry.name))
    .map((entry) => join(entry.parentPath.slice(root.length + 1), entry.name));
}
