/** Packages that only one spec file needs, in a folder with a package.json and a lock of its own. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Installs them where they are missing or out of date. @param {string} folder */
export function installed(folder) {
  if (isInstalled(folder)) return;
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
}

/** @param {string} folder */
function isInstalled(folder) {
  const listed = join(folder, 'node_modules/.package-lock.json');
  if (!existsSync(listed)) return false;
  /** @param {string} path @returns {Record<string, { version: string }>} */
  const packages = (path) => JSON.parse(readFileSync(path, 'utf8')).packages;
  const present = packages(listed);
  const wanted = Object.entries(packages(join(folder, 'package-lock.json'))).filter(([path]) => path);
  return wanted.every(([path, { version }]) => present[path]?.version === version);
}
