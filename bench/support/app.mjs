import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compileModule } from '../../test/support/swc.mjs';

const APPS = join(import.meta.dirname, '../apps');
/**
 * In turn, each application is idle for a while. V8 would throw away code that is not used meanwhile, and, eight seconds
 * later, collect what its memory reducer finds: hidden classes without an object, and the compiled code that knew them. What
 * is measured would be compiling it again (850 microseconds in place of 550 for a fresh request with Redis on Express), as
 * happens to no service at work.
 */
const KEEP_CODE = ['--no-flush-bytecode', '--no-memory-reducer'];

const BUILT = join(import.meta.dirname, '../.built');

/** An application in a process of its own. */
export class App {
  #child;

  /**
   * @param {import('node:child_process').ChildProcess} child
   * @param {number} port
   */
  constructor(child, port) {
    this.#child = child;
    this.port = port;
  }

  /**
   * @param {string} file
   * @param {Record<string, unknown>} settings
   * @param {{ execArgv?: string[], node?: string }} [options] `node`: path of the Node that it runs on
   */
  static async start(file, settings, { execArgv = [], node = process.execPath } = {}) {
    const env = { ...process.env, SETTINGS: JSON.stringify(settings), NODE_ENV: 'production' };
    const child = fork(file, {
      env,
      execPath: node,
      execArgv: [...process.execArgv, '--no-warnings', ...KEEP_CODE, ...execArgv],
      stdio: 'inherit',
    });
    const [message] = await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(([code]) => {
        throw new Error(`${file} ended with ${code}`);
      }),
    ]);
    return new App(child, message.port);
  }

  get pid() {
    return /** @type {number} */ (this.#child.pid);
  }

  /**
   * Asks the application something by message.
   *
   * @param {object} question
   * @returns {Promise<any>}
   */
  async ask(question) {
    const child = this.#child;
    const over = new AbortController();
    const answer = once(child, 'message', { signal: over.signal }).then(([message]) => message);
    const exit = once(child, 'exit', { signal: over.signal }).then(([code]) => {
      throw new Error(`The application ended with ${code}`);
    });
    child.send(question);
    try {
      return await Promise.race([answer, exit]);
    } finally {
      over.abort();
    }
  }

  async stop() {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.disconnect();
    await exit;
  }
}

/** @type {Promise<void> | undefined} */
let built;

/**
 * An application of `bench/apps`, compiled where it can import the library by its name, as the package's own `dist`.
 *
 * @param {string} name
 */
export async function nestApp(name) {
  await (built ??= buildAll());
  return join(BUILT, `${name}.js`);
}

async function buildAll() {
  await mkdir(BUILT, { recursive: true });
  const sources = (await readdir(APPS)).filter((name) => name.endsWith('.ts'));
  await Promise.all(
    sources.map(async (name) =>
      writeFile(join(BUILT, name.replace(/\.ts$/, '.js')), await compileModule(join(APPS, name))),
    ),
  );
}
