/** Finds the database servers that the tests start. Imports nothing that `npm ci` would have to install first. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @typedef {{ binary: string, variable: string, packages: string[] }} Requirement */

/** @type {Requirement} */
export const REDIS = { binary: 'redis-server', variable: 'REDIS_SERVER', packages: ['redis-server'] };

/** @type {Requirement} */
export const MARIADB = {
  binary: 'mariadbd',
  variable: 'MARIADBD',
  packages: ['mariadb-server-core', 'mariadb-client-core'],
};

/** @type {Requirement} */
export const MARIADB_INSTALL = {
  binary: 'mariadb-install-db',
  variable: 'MARIADB_INSTALL_DB',
  packages: MARIADB.packages,
};

/** @type {Requirement} */
export const PGBOUNCER = { binary: 'pgbouncer', variable: 'PGBOUNCER', packages: ['pgbouncer'] };

export const REQUIREMENTS = [REDIS, MARIADB, MARIADB_INSTALL, PGBOUNCER];

/** Debian keeps servers where an ordinary user's PATH does not look. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/libexec'];

/**
 * @param {Requirement} requirement
 * @returns {string | undefined} the path of the executable
 */
export function find({ binary, variable }) {
  const named = process.env[variable];
  if (named) return named;
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return [...folders, ...SYSTEM_FOLDERS].map((folder) => join(folder, binary)).find(isExecutable);
}

/**
 * @param {Requirement} requirement
 * @returns {string} the path of the executable
 */
export function need(requirement) {
  const path = find(requirement);
  if (path) return path;
  throw new Error(
    `${requirement.binary} is missing: apt-get install ${requirement.packages.join(' ')}` +
      ` (or name the executable in ${requirement.variable})`,
  );
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
