/** Installs the other ORMs, which no other test needs, and compiles their applications. `node test/orms/prepare.mjs` by hand. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileModule } from '../support/swc.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const BUILT = join(HERE, '.built');

/**
 * Has to stay below the tests' `node_modules`, which the applications resolve Nest, TypeORM and the library from.
 *
 * @returns {Promise<string>} the program that starts one of the applications
 */
export async function prepareOrms() {
  if (!isInstalled()) {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', args, { cwd: HERE, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  await Promise.all(sources().map(compile));
  return join(BUILT, 'main.js');
}

function isInstalled() {
  const listed = join(HERE, 'node_modules/.package-lock.json');
  if (!existsSync(listed)) return false;
  /** @param {string} path @returns {Record<string, { version: string }>} */
  const packages = (path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const installed = packages(listed);
  const wanted = Object.entries(packages(join(HERE, 'package-lock.json'))).filter(([path]) => path);
  return wanted.every(([path, { version }]) => installed[path]?.version === version);
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
