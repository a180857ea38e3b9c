import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { WorkerMessage } from './messages.js';

export type ShopState = 'starting' | 'running' | 'paused' | 'dead';

export interface ShopSettings {
  env: () => NodeJS.ProcessEnv;
  onChange: (what: string) => void;
  onEvent: (event: Extract<WorkerMessage, { kind: 'event' }>) => void;
}

const RESTART_AFTER = 300;
const STOP_TIMEOUT = 5_000;

/** A shop in a process of its own, which is really killed, stopped and started. */
export class ShopProcess {
  state: ShopState = 'dead';
  /** Where it listens while it runs, on 127.0.0.1. */
  port = 0;
  private child: ChildProcess | undefined;
  private starting: Promise<void> | undefined;
  private wanted = true;
  private ending = false;

  constructor(
    readonly name: string,
    private readonly settings: ShopSettings,
  ) {}

  get pid(): number | undefined {
    return this.state === 'dead' ? undefined : this.child?.pid;
  }

  /** Resolves once it listens. */
  start(): Promise<void> {
    this.starting ??= this.open().finally(() => (this.starting = undefined));
    return this.starting;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** It stands still, as in a long garbage collection or on a virtual machine that is moved; its sockets stay open. */
  pause(): void {
    this.child!.kill('SIGSTOP');
    this.turn('paused', 'stopped (SIGSTOP)');
  }

  /** It goes on as if no time had passed. */
  resume(): void {
    this.child!.kill('SIGCONT');
    this.turn('running', 'goes on (SIGCONT)');
  }

  /** For good. */
  async close(): Promise<void> {
    this.wanted = false;
    this.child?.kill('SIGCONT');
    const timer = setTimeout(() => this.child?.kill('SIGKILL'), STOP_TIMEOUT);
    await this.end('SIGTERM');
    clearTimeout(timer);
  }

  private async open(): Promise<void> {
    const child = fork(join(import.meta.dirname, 'worker.js'), { env: this.settings.env() });
    this.child = child;
    this.turn('starting', 'starts');
    const listening = new Promise<number>((resolve, reject) => {
      child.on('message', (message: WorkerMessage) => {
        if (message.kind === 'listening') resolve(message.port);
        else this.settings.onEvent(message);
      });
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        reject(new Error(`${this.name} ended while it started (${signal ?? code})`));
        this.ended(signal ? `ended (${signal})` : `ended (${code})`);
      });
    });
    this.port = await listening;
    this.turn('running', `listens, process ${child.pid}`);
  }

  private ended(how: string): void {
    const unexpected = this.wanted && this.state === 'running' && !this.ending;
    this.turn('dead', how);
    if (!unexpected) return;
    setTimeout(() => {
      if (this.wanted) this.start().catch((error: unknown) => this.settings.onChange(String(error)));
    }, RESTART_AFTER);
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    this.ending = true;
    child.kill(signal);
    await gone;
    this.ending = false;
  }

  private turn(state: ShopState, what: string): void {
    this.state = state;
    this.settings.onChange(what);
  }
}
