/** What `npm test` and `npm run checkout` share. Imports nothing but Node: it runs before `npm ci` did. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(import.meta.dirname, '..');
export const SAMPLE = 'sample/checkout';

/** All samples, the shop among them. */
export const SAMPLES = readdirSync(join(root, 'sample'))
  .map((name) => `sample/${name}`)
  .filter((sample) => existsSync(join(root, sample, 'package.json')));

/** What asks a process to end. */
export const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/**
 * @param {string} command
 * @param {string[]} args
 * @param {{ timeout?: number, cwd?: string, env?: NodeJS.ProcessEnv, stdio?: import('node:child_process').StdioOptions }} [options]
 * @returns {Promise<boolean>} whether it succeeded
 */
export function succeeds(command, args, { timeout, cwd = root, env, stdio = 'inherit' } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio });
    const timer =
      timeout &&
      setTimeout(() => {
        console.error(`Not done after ${timeout / 60_000} minutes: killed.`);
        child.kill('SIGKILL');
      }, timeout);
    let interrupted = false;
    const interrupt = (/** @type {NodeJS.Signals} */ signal) => {
      interrupted = true;
      child.kill(signal);
    };
    const end = (/** @type {boolean} */ success) => {
      clearTimeout(timer);
      for (const signal of SIGNALS) process.off(signal, interrupt);
      if (interrupted) process.exit(1);
      resolve(success);
    };
    for (const signal of SIGNALS) process.on(signal, interrupt);
    child.once('error', (error) => {
      console.error(`${command}: ${error.message}`);
      end(false);
    });
    child.once('exit', (code) => end(code === 0));
  });
}

/**
 * Runs a command that the rest depends on.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
export async function run(command, args, options) {
  console.log(`> ${[command, ...args].join(' ')}`);
  if (await succeeds(command, args, options)) return;
  console.error(`Failed: ${[command, ...args].join(' ')}`);
  process.exit(1);
}

/** Where better-sqlite3 is compiled: SQLite takes a minute with -O3, the addon's own setting, and a third of that with -O1. */
export function quickCompilation() {
  return { CFLAGS: '-O1', CXXFLAGS: '-O1', JOBS: 'max', ...process.env };
}

/** Installs the dependencies unless they are installed as the lock file says. */
export async function install() {
  const env = quickCompilation();
  if (!isInstalled()) {
    console.log('Installing; this takes a minute or two where better-sqlite3 has to be compiled.');
    await run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], { env });
  }
  // Compiled for the Node that installed it.
  if (!loads('better-sqlite3')) await run('npm', ['rebuild', 'better-sqlite3'], { env });
}

export async function buildLibrary() {
  await run('npm', ['run', '--silent', 'build']);
}

/**
 * @param {string} sample
 * @param {string} script
 */
export function sampleHas(sample, script) {
  const manifest = readJson(join(sample, 'package.json'));
  return Boolean(manifest?.scripts?.[script]);
}

/** npm leaves beside the packages a list of what it has put there. */
export function isInstalled() {
  const installed = readJson('node_modules/.package-lock.json')?.packages;
  const wanted = readJson('package-lock.json')?.packages;
  if (!installed || !wanted) return false;
  const paths = new Set([...Object.keys(installed), ...Object.keys(wanted)]);
  return [...paths].every((path) => {
    if (!path.includes('node_modules/')) return true;
    if (!installed[path]) return wanted[path].optional;
    return wanted[path]?.version === installed[path].version && existsSync(join(root, path));
  });
}

/** @param {string} addon */
export function loads(addon) {
  const program = `new (require(${JSON.stringify(addon)}))(':memory:')`;
  return spawnSync(process.execPath, ['-e', program], { cwd: root }).status === 0;
}

/** @param {string} path */
function readJson(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8'));
  } catch {
    return undefined;
  }
}
