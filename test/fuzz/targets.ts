import { cli } from './cli.js';
import { dashboard } from './dashboard.js';
import { fingerprints } from './fingerprint.js';
import { header } from './header.js';
import { heads } from './heads.js';
import { keys } from './keys.js';
import type { Property } from './property.js';
import { sealed } from './sealer.js';
import { values } from './values.js';

/** What `npm run fuzz` tries, by the names that it takes. */
export const TARGETS: Readonly<Record<string, readonly Property[]>> = {
  header,
  fingerprint: fingerprints,
  heads,
  keys,
  values,
  sealer: sealed,
  cli,
  dashboard,
};
