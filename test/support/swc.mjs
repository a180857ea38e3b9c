import { readFile } from 'node:fs/promises';
import { transform } from '@swc/core';

/** How swc compiles tests, and the applications of tests and benchmarks. */
export const SWC = /** @type {const} @satisfies {import('@swc/core').Options} */ ({
  swcrc: false,
  sourceMaps: 'inline',
  jsc: {
    target: 'es2023',
    keepClassNames: true,
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: true },
  },
});

/**
 * Compiles a file to a module that node runs without jest.
 *
 * @param {string} filename
 */
export async function compileModule(filename) {
  const { code } = await transform(await readFile(filename, 'utf8'), { ...SWC, filename, module: { type: 'es6' } });
  return code;
}
