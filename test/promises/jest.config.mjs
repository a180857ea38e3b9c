/** How `npm run test:promises` runs spec files: any of them, in a copy of the tree, on servers that it has started itself. */
import { join } from 'node:path';
import base from '../../jest.config.mjs';

const rootDir = join(import.meta.dirname, '../..');
// Without the runner that shares modules between spec files: here, each file has a process of its own.
const [{ displayName: _name, testMatch: _match, testRunner: _runner, ...shared }] =
  /** @type {Record<string, unknown>[]} */ (base.projects);

/** @type {import('jest').Config} */
export default {
  ...shared,
  rootDir,
  // Two at a time, on a machine that may have no more cores than that. A test that fails by its time-out shows nothing.
  testTimeout: 3 * Number(base.testTimeout),
  testMatch: ['<rootDir>/test/**/*spec.ts'],
  reporters: ['default'],
};
