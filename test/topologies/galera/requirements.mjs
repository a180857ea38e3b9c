/** @typedef {import('../../support/binaries.mjs').Requirement} Requirement */

/**
 * Of the whole server, which comes with Galera: nodes copy their data by it.
 *
 * @type {Requirement}
 */
const COPY = { binary: 'wsrep_sst_rsync', variable: 'WSREP_SST_RSYNC', packages: ['mariadb-server'] };

/** @type {Requirement} */
const RSYNC = { binary: 'rsync', variable: 'RSYNC', packages: ['rsync'] };

/** @type {Requirement} */
const FAKETIME = { binary: 'faketime', variable: 'FAKETIME', packages: ['faketime'] };

/** @type {Requirement} */
const IP = { binary: 'ip', variable: 'IP', packages: ['iproute2'] };

export const REQUIREMENTS = [COPY, RSYNC, FAKETIME, IP];
