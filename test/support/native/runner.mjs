/**
 * Runs the spec files of a jest worker in the worker itself, one after another. Jest's own runner gives each file a module system
 * of its own and so loads Nest and TypeORM again for each, which takes about a second of CPU time. Here Node loads them once a
 * worker. Spec files see what others left in the modules they share: a file for which that matters says `@isolated` in a comment
 * at its head, and is run as jest does it.
 */
import { readFileSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';
import 'reflect-metadata';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { reset } from './jest-globals.mjs';
import { watchTimers } from './spec-timers.mjs';

const ISOLATED = /^\/\*\*[^]*?@isolated[^]*?\*\//;

/** Where spec files count fake timers. */
const ROOM_OF_FAKE_TIMERS = /[\\/]test[\\/]unit[\\/]/;

register('./hooks.mjs', import.meta.url);
const require = createRequire(import.meta.url);
/**
 * The entities of all `TypeOrmModule.forFeature()` so far, which an application with `autoLoadEntities` takes: those of other spec
 * files are no part of it.
 *
 * @type {{ EntitiesMetadataStorage: { storage: Map<string, unknown> } }}
 */
const { EntitiesMetadataStorage } = await import(
  new URL('dist/entities-metadata.storage.js', pathToFileURL(require.resolve('@nestjs/typeorm/package.json'))).href
);
// Its path in two parts, as it has no types.
/** @type {{ default: (...args: unknown[]) => Promise<unknown> }} */
const { default: circus } = require('jest-circus/' + 'runner');

/** What jest's runner of test trees wants from a module system. */
const modules = {
  /** Its state is made when it is loaded. @param {string} path */
  requireInternalModule(path) {
    delete require.cache[path];
    Reflect.deleteProperty(globalThis, Symbol.for('EVENT_HANDLERS'));
    return require(path);
  },
  requireModule: require,
  unstable_shouldLoadAsEsm: () => true,
  unstable_importModule: (/** @type {string} */ path) => import(pathToFileURL(path).href),
  setGlobalsForRuntime: () => undefined,
  enterTestCode: () => undefined,
  leaveTestCode: () => undefined,
};

/**
 * @param {unknown} globalConfig
 * @param {unknown} config
 * @param {unknown} environment
 * @param {unknown} runtime
 * @param {string} testPath
 * @param {unknown} sendMessageToJest
 */
export default async function run(globalConfig, config, environment, runtime, testPath, sendMessageToJest) {
  if (ISOLATED.test(readFileSync(testPath, 'utf8'))) {
    return circus(globalConfig, config, environment, runtime, testPath, sendMessageToJest);
  }
  // Jest maps the stacks of what it has compiled itself; Node does so for what the hooks have.
  Reflect.deleteProperty(Error, 'prepareStackTrace');
  process.setSourceMapsEnabled(true);
  const env = { ...process.env };
  // The other projects close what they open, and some count what a request allocates.
  const clearTimers = ROOM_OF_FAKE_TIMERS.test(testPath) ? watchTimers() : undefined;
  try {
    return await circus(globalConfig, config, { global: globalThis }, modules, testPath, sendMessageToJest);
  } finally {
    reset();
    clearTimers?.();
    EntitiesMetadataStorage.storage.clear();
    Logger.overrideLogger(['log', 'fatal', 'error', 'warn', 'debug', 'verbose']);
    Logger.overrideLogger(new ConsoleLogger());
    for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
    Object.assign(process.env, env);
  }
}
