/** Builds the library and the shop to be run, and no more: without types, which `npm test` checks. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { root, SAMPLE } from '../workspace.mjs';
import { digestOf, isCurrent, stamp } from '../stamp.mjs';

/**
 * @param {string} folder a small copy of the repository, see `install.mjs`
 */
export function buildShop(folder) {
  for (const [from, to] of [
    ['lib', 'dist'],
    [`${SAMPLE}/src`, `${SAMPLE}/dist`],
  ]) {
    compile(join(root, from), join(folder, to));
  }
  // What the page shows: itself, and the code of its endpoints.
  for (const name of ['public', 'src']) {
    const link = join(folder, SAMPLE, name);
    if (!existsSync(link)) symlinkSync(join(root, SAMPLE, name), link, 'junction');
  }
}

/**
 * Compiles what is TypeScript, and copies what is not, such as the files of the page for operators.
 *
 * @param {string} from
 * @param {string} to
 */
function compile(from, to) {
  const sources = readdirSync(from, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(from, join(parentPath, name)))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(from, path), 'utf8') }));
  const digest = digestOf(...sources.flatMap(({ path, text }) => [path, text]));
  if (isCurrent(to, digest)) return;
  /** @type {import('typescript')} */
  const ts = createRequire(join(dirname(to), 'index.js'))('typescript');
  const compilerOptions = {
    module: ts.ModuleKind.ESNext,
    target: ts.ScriptTarget.ES2023,
    experimentalDecorators: true,
    emitDecoratorMetadata: true,
    isolatedModules: true,
  };
  rmSync(to, { recursive: true, force: true });
  for (const { path, text } of sources) {
    const target = join(to, path.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    const isSource = path.endsWith('.ts');
    writeFileSync(target, isSource ? ts.transpileModule(text, { compilerOptions, fileName: path }).outputText : text);
  }
  stamp(to, digest);
}
