import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Command, MemoryReading, Setup } from '../app/order.js';
import { askChild } from './ask-child.js';

const PROGRAM = fileURLToPath(new URL('../app/faults-app.js', import.meta.url));
const BOOT_LIMIT = 60_000;

/** A process that stands still would not notice that the lab has gone. */
const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** One of the application's processes, with a port that it keeps when it is started again. */
export class App {
  output = '';
  private child: ChildProcess | undefined;
  private closed = false;

  /** @param spared whether it may be paused and cut off, but never ended: its memory is watched */
  constructor(
    private setup: Setup,
    readonly spared = false,
  ) {}

  get name(): string {
    return this.setup.name;
  }

  get url(): string {
    return `http://127.0.0.1:${this.setup.port}`;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Starts it, again and again where it cannot come up, as an orchestrator does. */
  async start(limitMs = 180_000): Promise<void> {
    const until = performance.now() + limitMs;
    while (!this.closed && !this.running) {
      if (await this.launch()) return;
      if (performance.now() > until) throw new Error(`${this.name} does not come up:\n${this.output}`);
      await sleep(100);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  send(command: Command): void {
    if (this.running && this.child!.connected) this.child!.send(command, () => undefined);
  }

  /** Has its history written to another folder, now and when it is started again. */
  async moveTo(folder: string): Promise<void> {
    this.setup = { ...this.setup, folder };
    await askChild(this.child!, { do: 'move to', folder } satisfies Command);
  }

  /** Has it collect its garbage. `undefined`: it cannot be asked. */
  async measure(): Promise<MemoryReading | undefined> {
    if (!this.running) return undefined;
    return askChild<MemoryReading>(this.child!, { do: 'measure' } satisfies Command).catch(() => undefined);
  }

  /** Waits until the process has ended, at most `ms` milliseconds. Whether it has. */
  async ended(ms: number): Promise<boolean> {
    const until = Date.now() + ms;
    while (this.running && Date.now() < until) await sleep(10);
    return !this.running;
  }

  /** SIGKILL, and wait for the end. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || !this.running) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.kill();
  }

  /** Whether it answers, database and all. */
  async healthy(): Promise<boolean> {
    if (!this.running) return false;
    return new Promise((resolve) => {
      const asked = request(`${this.url}/operator/health`, { timeout: 1_000 }, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      asked.on('error', () => resolve(false));
      asked.on('timeout', () => asked.destroy());
      asked.end();
    });
  }

  private async launch(): Promise<boolean> {
    const env = { ...process.env, NODE_ENV: 'production', SETUP: JSON.stringify(this.setup) };
    // A larger young generation, as servers under load are given: garbage is collected less often.
    const execArgv = ['--no-warnings', '--expose-gc', '--max-semi-space-size=32'];
    const child = fork(PROGRAM, { env, execArgv, silent: true });
    this.child = child;
    const collect = (chunk: Buffer) => (this.output = (this.output + chunk.toString()).slice(-20_000));
    child.stdout!.on('data', collect);
    child.stderr!.on('data', collect);
    child.on('error', () => undefined);
    children.add(child);
    child.once('exit', () => children.delete(child));
    const timer = setTimeout(() => child.kill('SIGKILL'), BOOT_LIMIT);
    const ready = await new Promise<boolean>((resolve) => {
      child.once('message', () => resolve(true));
      child.once('exit', () => resolve(false));
    });
    clearTimeout(timer);
    return ready;
  }
}
