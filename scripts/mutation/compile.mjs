/** Stryker's build command: compiles the sandbox's lib and tests, each file to a module beside it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { transformSync } from '@swc/core';
import jest from '../../jest.config.mjs';

const root = process.cwd();
const [, swc] = /** @type {any} */ (jest).projects[0].transform['^.+\\.ts$'];
const globals = join(root, 'test/support/native/jest-globals.mjs');

const sources = ['lib', 'test'].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
);
for (const file of sources.filter((name) => name.endsWith('.ts'))) {
  const source = readFileSync(file, 'utf8');
  const { code } = transformSync(source, {
    ...swc,
    configFile: false,
    filename: join(root, file),
    module: { type: 'es6' },
  });
  const path = relative(join(root, file, '..'), globals);
  writeFileSync(file.replace(/\.ts$/, '.js'), code.replaceAll(/(['"])@jest\/globals\1/g, JSON.stringify(path)));
}
