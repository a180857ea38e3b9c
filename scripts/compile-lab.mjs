/** Compiles the fault lab, so that its many processes start quickly. Needs what `npm ci` installs. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from '@swc/core';
import { root } from './workspace.mjs';

const TO = 'test/.built/lab';
/** What the lab consists of, and what of the library it uses beside the package. */
const SOURCES = ['test/faults', 'test/support', 'lib/engine/identity.ts', 'lib/testing/points.ts'];

/** @returns {string} the program's path */
export function compileLab() {
  rmSync(join(root, TO), { recursive: true, force: true });
  for (const source of SOURCES.flatMap(filesOf)) {
    const to = join(root, TO, source);
    mkdirSync(dirname(to), { recursive: true });
    if (source.endsWith('.ts')) writeFileSync(to.replace(/\.ts$/, '.js'), compile(source));
    else cpSync(join(root, source), to);
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

/** @param {string} source */
function compile(source) {
  return transformSync(readFileSync(join(root, source), 'utf8'), {
    swcrc: false,
    filename: source,
    sourceMaps: 'inline',
    module: { type: 'es6' },
    jsc: {
      target: 'es2023',
      keepClassNames: true,
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: true },
    },
  }).code;
}
