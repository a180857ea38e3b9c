/** Installs the other ORMs, which no other test needs, and compiles their applications. `node test/orms/prepare.mjs` by hand. */
import { readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installed } from '../support/installed.mjs';
import { compileModule } from '../support/swc.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUILT = join(HERE, '.built');

/**
 * Has to stay below the tests' `node_modules`, which the applications resolve Nest, TypeORM and the library from.
 *
 * @returns {Promise<string>} the program that starts one of the applications
 */
export async function prepareOrms() {
  installed(HERE);
  await Promise.all(sources().map(compile));
  return join(BUILT, 'main.js');
}

function sources() {
  return readdirSync(HERE, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.ts') && !/^(node_modules|\.built)\b/.test(path),
  );
}

/** @param {string} path */
async function compile(path) {
  const target = join(BUILT, path.replace(/\.ts$/, '.js'));
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, await compileModule(join(HERE, path)));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) console.log(await prepareOrms());
