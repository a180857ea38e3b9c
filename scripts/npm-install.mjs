/** Packages, and versions of Node among them, installed by npm into folders of their own. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param {string} place
 * @param {Record<string, string>} dependencies
 * @param {string[]} [flags]
 */
export function npmInstall(place, dependencies, flags = []) {
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, dependencies }));
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...flags];
  const { status, stderr } = spawnSync('npm', args, { cwd: place, encoding: 'utf8' });
  return { ok: status === 0, output: stderr };
}

/**
 * Installs a version of Node, unless an earlier run has left one in the folder.
 *
 * @param {string} folder
 * @param {string} wanted
 */
export function installNode(folder, wanted) {
  const place = join(folder, `node-${wanted}`);
  const name = `node-${process.platform}-${process.arch}`;
  const path = join(place, 'node_modules', name, 'bin', 'node');
  if (!existsSync(path)) {
    const installed = npmInstall(place, { [name]: wanted });
    if (!installed.ok) throw new Error(installed.output);
  }
  return { version: execFileSync(path, ['--version'], { encoding: 'utf8' }).trim(), path };
}
