import { existsSync, readdirSync } from 'node:fs';

/** @typedef {import('../../support/binaries.mjs').Requirement} Requirement */

/** Where Debian puts each major version of PostgreSQL; the newest comes first. */
const VERSIONS = '/usr/lib/postgresql';
const newest = (existsSync(VERSIONS) ? readdirSync(VERSIONS) : []).sort((a, b) => Number(b) - Number(a))[0] ?? '15';

/** @type {Requirement} */
export const PATRONI = { binary: 'patroni', variable: 'PATRONI', packages: ['patroni', 'python3-etcd'] };

/** @type {Requirement} */
export const ETCD = { binary: 'etcd', variable: 'ETCD', packages: ['etcd-server'] };

/** @type {Requirement} */
export const HAPROXY = { binary: 'haproxy', variable: 'HAPROXY', packages: ['haproxy'] };

/** @type {Requirement} */
export const POSTGRES = {
  binary: 'postgres',
  variable: 'POSTGRES',
  packages: ['postgresql'],
  folder: `${VERSIONS}/${newest}/bin`,
};

export const REQUIREMENTS = [PATRONI, ETCD, HAPROXY, POSTGRES];
