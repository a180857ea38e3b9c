/** Finds the servers, and the browser, that the tests start. Imports nothing that `npm ci` would have to install first. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @typedef {{ binary: string, variable: string, packages: string[], folder?: string, elsewhere?: string[] }} Requirement */

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
export const NATS = { binary: 'nats-server', variable: 'NATS_SERVER', packages: ['nats-server'] };

/** @type {Requirement} */
export const MOSQUITTO = { binary: 'mosquitto', variable: 'MOSQUITTO', packages: ['mosquitto'] };

/**
 * Debian's command of this name is for root and the user of the service alone; the one that it calls is for everybody.
 *
 * @type {Requirement}
 */
export const RABBITMQ = {
  binary: 'rabbitmq-server',
  variable: 'RABBITMQ_SERVER',
  packages: ['rabbitmq-server'],
  folder: '/usr/lib/rabbitmq/bin',
};

/**
 * Where the nodes of Erlang find each other: RabbitMQ would leave one behind.
 *
 * @type {Requirement}
 */
export const EPMD = { binary: 'epmd', variable: 'EPMD', packages: RABBITMQ.packages };

/**
 * For the tests of the sample's page.
 *
 * @type {Requirement}
 */
export const CHROMIUM = {
  binary: 'chromium',
  variable: 'CHROMIUM',
  packages: ['chromium'],
  elsewhere: [
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
    '/opt/google/chrome/chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ],
};

/** @type {Requirement} */
export const PGBOUNCER = { binary: 'pgbouncer', variable: 'PGBOUNCER', packages: ['pgbouncer'] };

export const REQUIREMENTS = [REDIS, MARIADB, MARIADB_INSTALL, NATS, MOSQUITTO, RABBITMQ, EPMD, PGBOUNCER];

/** Debian keeps servers where an ordinary user's PATH does not look. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/usr/local/sbin', '/usr/libexec'];

/**
 * @param {Requirement} requirement
 * @returns {string | undefined} the path of the executable
 */
export function find({ binary, variable, folder, elsewhere = [] }) {
  const named = process.env[variable];
  if (named) return named;
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  const places = [folder ?? [], folders, SYSTEM_FOLDERS].flat().map((one) => join(one, binary));
  return [...places, ...elsewhere].find(isExecutable);
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
