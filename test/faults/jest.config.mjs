/** What `npm run test:faults` runs beside the lab: the spec of `nestjs-idempotency/testing`. */
import { join } from 'node:path';
import base from '../../jest.config.mjs';

const rootDir = join(import.meta.dirname, '../..');

const projects = /** @type {Record<string, unknown>[]} */ (base.projects);
const { displayName: _, ...e2e } = projects.find(({ displayName }) => displayName === 'e2e') ?? {};

/** @type {import('jest').Config} */
export default {
  ...base,
  rootDir,
  projects: [{ ...e2e, displayName: 'faults', rootDir, testMatch: ['<rootDir>/test/faults/**/*.e2e-spec.ts'] }],
};
