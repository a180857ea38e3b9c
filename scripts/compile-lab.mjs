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
  rmSync(join(root, TO), { recursive: true, force: true });
  for (const source of SOURCES.flatMap(filesOf)) {
    const to = join(root, TO, source);
    mkdirSync(dirname(to), { recursive: true });
    const from = join(root, source);
    if (source.endsWith('.ts')) writeFileSync(to.replace(/\.ts$/, '.js'), await compileModule(from));
    else cpSync(from, to);
  }
  return join(root, TO, 'test/faults/main.js');
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
