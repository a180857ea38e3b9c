/**
 * `npm run test:mysql`: the specs that run on MariaDB, on a MySQL instead: the one that `MYSQLD` names, or else Debian's newest, which apt
 * fetches with the libraries that it needs. Nothing is installed. Takes jest's arguments.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ensureDatabases } from './databases.mjs';
import { jest } from './jest.mjs';
import { buildLibrary, install, root } from './workspace.mjs';

const TIME_LIMIT = 40 * 60_000;
const SOURCE =
  'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian unstable main\n';
const PACKAGE = 'mysql-server-core';

await install();
await ensureDatabases();
process.env.MYSQLD ??= fetchMysql(join(root, 'node_modules/.cache/mysql'));
console.log(execFileSync(process.env.MYSQLD, ['--version'], { encoding: 'utf8' }).trim());
await buildLibrary();
const given = process.argv.slice(2);
const { passed } = await jest(given.length > 0 ? given : ['--runTestsByPath', ...specs()], TIME_LIMIT);
process.exit(passed ? 0 : 1);

/** Those that name MariaDB, or run on each backend of the store. */
function specs() {
  return ['test/e2e', 'test/conformance']
    .flatMap((folder) => filesIn(join(root, folder)))
    .filter((path) => path.endsWith('spec.ts') && /mariadb|BACKENDS/i.test(readFileSync(path, 'utf8')));
}

/** @param {string} folder */
function filesIn(folder) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
}

/**
 * @param {string} folder
 * @returns {string} the path of a command that is `mysqld`
 */
function fetchMysql(folder) {
  const command = join(folder, 'mysqld');
  if (existsSync(command)) return command;
  for (const part of ['lists/partial', 'cache/archives/partial', 'root'])
    mkdirSync(join(folder, part), { recursive: true });
  writeFileSync(join(folder, 'sources.list'), SOURCE);
  // An empty one: apt then fetches every library, as the machine's own are older.
  writeFileSync(join(folder, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Debug::NoLocking': '1',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const aptGet = (/** @type {string[]} */ ...args) =>
    execFileSync('apt-get', [...options, '--quiet', ...args], { stdio: 'inherit' });
  aptGet('update');
  aptGet('install', '--yes', '--no-install-recommends', '--download-only', PACKAGE);
  const archives = join(folder, 'cache/archives');
  for (const name of readdirSync(archives).filter((one) => one.endsWith('.deb'))) {
    execFileSync('dpkg', ['--extract', join(archives, name), join(folder, 'root')]);
  }
  const loader = filesIn(join(folder, 'root/usr/lib')).find((path) => /\/ld-linux-[^/]*\.so\.\d$/.test(path));
  if (!loader) throw new Error(`${PACKAGE} came without the loader of its C library`);
  // By its own loader, as its libraries need the C library that they were built for.
  writeFileSync(
    command,
    `#!/bin/sh
root='${join(folder, 'root')}'
exec '${loader}' --library-path '${dirname(loader)}' "$root/usr/sbin/mysqld" "$@" \\
  --lc-messages-dir="$root/usr/share/mysql" --character-sets-dir="$root/usr/share/mysql/charsets" \\
  --plugin-dir="$root/usr/lib/mysql/plugin"
`,
  );
  chmodSync(command, 0o755);
  return command;
}
