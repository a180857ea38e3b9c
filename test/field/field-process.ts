import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileModule } from '../support/swc.mjs';
import type { Adapter } from './harness.js';
import type { Listed, Task } from './main.js';

const TESTS = fileURLToPath(new URL('../', import.meta.url));
const SHARED = ['support/until.ts', 'conformance/support/raw-http.ts', 'conformance/support/multipart.ts'];

interface Message {
  readonly applications?: readonly Listed[];
  readonly id?: number;
  readonly differences?: string[];
}

/** Runs the applications of a folder beside this file, against the built library. */
export class FieldProcess {
  private readonly waiting = new Map<number, (differences: string[]) => void>();
  private output = '';
  private tasks = 0;

  private constructor(
    private readonly child: ChildProcess,
    readonly applications: readonly Listed[],
  ) {
    child.on('message', ({ id, differences }: Message) => {
      this.waiting.get(id!)?.(differences!);
      this.waiting.delete(id!);
    });
    child.once('exit', (code) => {
      for (const answer of this.waiting.values()) answer([`the process ended with ${code}:\n${this.output}`]);
    });
  }

  static async start(folder: string): Promise<FieldProcess> {
    // One folder for each jest worker and start, as they may compile at the same time.
    const built = join(TESTS, '.built', `field.${process.pid}.${folder}`);
    await compile(built);
    const child = fork(join(built, 'field/main.js'), {
      env: { ...process.env, FIELD_FOLDER: folder },
      execArgv: ['--enable-source-maps', '--no-warnings'],
      silent: true,
    });
    let output = '';
    const collect = (chunk: Buffer) => (output += chunk.toString());
    child.stdout!.on('data', collect);
    child.stderr!.on('data', collect);
    const applications = await new Promise<readonly Listed[]>((resolve, reject) => {
      child.once('message', (message: Message) => resolve(message.applications!));
      child.once('exit', (code) => reject(new Error(`ended with ${code}:\n${output}`)));
    });
    // Everything is loaded. Where all tests of a file are left out, jest does not call what would remove this, or end the process.
    await rm(built, { recursive: true, force: true });
    child.unref();
    child.channel!.unref();
    const started = new FieldProcess(child, applications);
    child.stderr!.on('data', (chunk: Buffer) => (started.output += chunk.toString()));
    return started;
  }

  /** Returns in what its answers and effects differ. */
  run(name: string, adapter: Adapter, env?: Task['env']): Promise<string[]> {
    const task: Task = { id: ++this.tasks, name, adapter, env };
    return new Promise((resolve) => {
      this.waiting.set(task.id, resolve);
      this.child.send(task);
    });
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.ref();
    this.child.kill('SIGKILL');
    await ended;
  }
}

async function compile(built: string): Promise<void> {
  const sources = (await readdir(join(TESTS, 'field'), { recursive: true }))
    .filter((path) => path.endsWith('.ts') && !path.endsWith('-spec.ts'))
    .map((path) => join('field', path));
  await Promise.all(
    [...sources, ...SHARED].map(async (path) => {
      const target = join(built, path.replace(/\.ts$/, '.js'));
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, await compileModule(join(TESTS, path)));
    }),
  );
}
