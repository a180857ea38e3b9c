import { SWC } from './test/support/swc.mjs';

// Coverage is measured in jest's own modules alone, and there alone are files that changed loaded again.
const NATIVE = !process.argv.some((argument) => /^--(coverage|collectCoverage|watch)/.test(argument));

const shared = {
  ...(NATIVE && { testRunner: '<rootDir>/test/support/native/runner.mjs' }),
  testEnvironment: 'node',
  moduleFileExtensions: ['js', 'mjs', 'cjs', 'ts', 'json', 'node'],
  extensionsToTreatAsEsm: ['.ts'],
  // Sources import './x.js', as TypeScript wants it; jest runs './x.ts'.
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/sample/', '<rootDir>/reports/'],
  setupFiles: ['reflect-metadata'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', SWC],
  },
};

const withServers = {
  ...shared,
  globalSetup: '<rootDir>/test/support/global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.mjs',
};

/** @type {import('jest').Config} */
export default {
  testTimeout: 30_000,
  // Twice the cores of the smallest machine: half of a worker's time is spent waiting for leases to end and servers to start.
  maxWorkers: 4,
  testSequencer: '<rootDir>/test/support/sequencer.mjs',
  reporters: ['default', '<rootDir>/test/support/summary-reporter.mjs'],
  coverageProvider: 'v8',
  collectCoverageFrom: ['lib/**/*.ts', '!lib/**/index.ts'],
  projects: [
    { ...shared, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.spec.ts'] },
    {
      ...withServers,
      displayName: 'e2e',
      testMatch: ['<rootDir>/test/e2e/**/*.e2e-spec.ts', '<rootDir>/test/cost/**/*.e2e-spec.ts'],
    },
    { ...withServers, displayName: 'conformance', testMatch: ['<rootDir>/test/conformance/**/*.e2e-spec.ts'] },
    { ...shared, displayName: 'field', testMatch: ['<rootDir>/test/field/**/*.field-spec.ts'] },
  ],
};
