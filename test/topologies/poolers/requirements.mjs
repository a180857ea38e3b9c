import { PGBOUNCER } from '../../support/binaries.mjs';

/** @typedef {import('../../support/binaries.mjs').Requirement} Requirement */

/** @type {Requirement} */
export const PGPOOL = { binary: 'pgpool', variable: 'PGPOOL', packages: ['pgpool2'] };

export const REQUIREMENTS = [PGBOUNCER, PGPOOL];
