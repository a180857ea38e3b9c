import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileModule } from './swc.mjs';

const APPS = fileURLToPath(new URL('../apps/', import.meta.url));
const BUILT = fileURLToPath(new URL('../.built/', import.meta.url));
const BOOT_LIMIT = 30_000;

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A Nest application of `test/apps` in a process of its own, against the built library. It reports its port by message
 * when it is ready, and whatever else it sends is kept in `messages`.
 */
export class AppProcess {
  readonly messages: unknown[] = [];
  output = '';

  private constructor(
    private readonly child: ChildProcess,
    private port: number,
  ) {}

  static async start(app: string, env: Environment): Promise<AppProcess> {
    return AppProcess.run(await build(app), env);
  }

  /** @param program a compiled one, which is not of `test/apps` */
  static async run(program: string, env: Environment): Promise<AppProcess> {
    const app = basename(program);
    const child = fork(program, { env: { ...process.env, ...env }, silent: true });
    const started = new AppProcess(child, 0);
    const collect = (chunk: Buffer) => (started.output += chunk.toString());
    child.stdout!.on('data', collect);
    child.stderr!.on('data', collect);
    started.port = await new Promise<number>((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`${app} ${why}:\n${started.output}`));
      const timer = setTimeout(() => fail('did not come up'), BOOT_LIMIT);
      child.once('exit', (code) => fail(`ended with ${code}`));
      child.on('message', (message: { port?: number }) => {
        if (message.port === undefined) return void started.messages.push(message);
        clearTimeout(timer);
        resolve(message.port);
      });
    });
    return started;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends the process and waits for that; `SIGKILL` by default. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGCONT');
    this.child.kill(signal);
    await ended;
  }
}

const builds = new Map<string, Promise<string>>();

/** Compiles an app where it can import the library by its name, as the package's own `dist`. */
export function build(app: string): Promise<string> {
  let built = builds.get(app);
  if (!built) builds.set(app, (built = compile(app)));
  return built;
}

async function compile(app: string): Promise<string> {
  await mkdir(BUILT, { recursive: true });
  // One file for each jest worker, as they may compile at the same time.
  const path = join(BUILT, `${basename(app)}.${process.pid}.mjs`);
  await writeFile(path, await compileModule(join(APPS, `${app}.ts`)));
  return path;
}
