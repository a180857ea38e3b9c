/**
 * The promises of docs/guarantees.md, each with a fault that breaks it and the spec that notices. `npm run test:promises` tries
 * them; the page's "Shown by" lines are made of them by `npm run test:promises -- page`.
 *
 * @typedef {object} ShownBy
 * @property {string} spec its path without `.e2e-spec.ts` or, of a unit test, `.spec.ts`
 * @property {string} [test] part of the full name of the tests that notice; without it, the whole file is run
 *
 * @typedef {object} Promised
 * @property {string} section the page's heading
 * @property {string} promise in a few words, as the page names it
 * @property {readonly import('./patch.mjs').Patch[]} broken what breaks it
 * @property {readonly ShownBy[]} shownBy each of them fails on that
 *
 * @typedef {{ readonly heading: string, readonly promises: readonly Omit<Promised, 'section'>[] }} Section
 */
import { CRASHES } from './sections/crashes.mjs';
import { REQUESTS } from './sections/requests.mjs';
import { SURROUNDINGS } from './sections/surroundings.mjs';
import { RECORDS } from './sections/records.mjs';
import { TRANSACTIONS } from './sections/transactions.mjs';

/** @type {readonly Promised[]} */
export const PROMISES = [...RECORDS, ...TRANSACTIONS, ...CRASHES, ...SURROUNDINGS, ...REQUESTS].flatMap(
  ({ heading, promises }) => promises.map((one) => ({ section: heading, ...one })),
);
