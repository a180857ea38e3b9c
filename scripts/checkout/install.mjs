/** Installs the packages that the shop of sample/checkout runs with, beside those of the repository. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { digestOf, isCurrent, stamp } from '../stamp.mjs';
import { isInstalled, loads, quickCompilation, root, run, SAMPLE } from '../workspace.mjs';

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {string} type
 * @property {unknown} exports
 * @property {string[]} workspaces
 * @property {Record<string, string>} dependencies
 * @property {Record<string, string>} devDependencies
 * @property {Record<string, unknown>} scripts
 */

/**
 * The folder becomes a small copy of the repository: its manifests without what only tests and tools need, in the versions of the
 * repository's lock file, and the library linked to the copy's root. The repository's own node_modules stays as it is,
 * so that `npm ci` and `npm test` find what they expect.
 *
 * @param {string} folder
 */
export async function installShop(folder) {
  const files = manifests();
  const packages = join(folder, 'node_modules');
  const digest = digestOf(...Object.values(files), process.platform, process.arch, process.versions.modules);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  if (isCurrent(packages, digest)) return;
  rmSync(packages, { recursive: true, force: true });
  if (isInstalled() && loads('better-sqlite3')) {
    // Everything but the library is found further up, in the repository's node_modules.
    mkdirSync(packages);
    symlinkSync(folder, join(packages, 'nestjs-idempotency'), 'junction');
    return;
  }
  console.log('Installing what the shop needs; half a minute where better-sqlite3 has to be compiled.');
  await run('npm', ['ci', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    env: quickCompilation(),
  });
  stamp(packages, digest);
}

/** @returns {Record<string, string>} texts by path */
function manifests() {
  /** @type {Manifest} */
  const library = readJson('package.json');
  /** @type {Manifest} */
  const shop = readJson(join(SAMPLE, 'package.json'));
  /** @type {{ packages: Record<string, { link?: boolean, resolved?: string }> }} */
  const lock = readJson('package-lock.json');

  const { name, version, type, exports, dependencies } = library;
  const small = { name, version, dependencies, workspaces: [SAMPLE] };
  // The compiler is all that it takes to build.
  const { devDependencies, scripts: _, ...rest } = shop;
  const smallShop = { ...rest, dependencies: { ...shop.dependencies, typescript: devDependencies.typescript } };

  const linked = new Set(['', SAMPLE]);
  const others = Object.entries(lock.packages).filter(([path, { link, resolved }]) =>
    link ? linked.has(resolved ?? '') : path.startsWith('node_modules/') || path.startsWith(`${SAMPLE}/`),
  );
  const packages = { ...Object.fromEntries(others), '': small, [SAMPLE]: smallShop };
  return {
    'package.json': JSON.stringify({ ...small, type, exports, allowScripts: { 'better-sqlite3': true } }),
    [`${SAMPLE}/package.json`]: JSON.stringify(smallShop),
    // npm leaves out what nothing depends on.
    'package-lock.json': JSON.stringify({ ...lock, packages }),
  };
}

/** @param {string} path */
function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'));
}
