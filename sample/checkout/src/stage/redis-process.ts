import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** Ends Redis with SIGKILL when its input closes: on request, and however the stage ends. */
const KEEPER = 'trap "" INT TERM HUP; "$@" & read -r _; kill -9 $! 2>/dev/null; wait $! 2>/dev/null';

const START_TIMEOUT = 10_000;

/** A Redis node of the stage's own: on 127.0.0.1, on a free port, nothing of it on the disk. */
export class RedisProcess {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly binary: string,
    private readonly port: number,
  ) {}

  /** Undefined where no `redis-server` is installed. */
  static async find(): Promise<RedisProcess | undefined> {
    const binary = process.env.REDIS_SERVER ?? 'redis-server';
    if (process.platform === 'win32' || spawnSync(binary, ['--version']).status !== 0) return undefined;
    return new RedisProcess(binary, await freePort());
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get running(): boolean {
    return this.child !== undefined;
  }

  /** Resolves once it answers. */
  async start(): Promise<void> {
    if (this.child) return;
    const settings = { port: this.port, bind: '127.0.0.1', save: '', appendonly: 'no' };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.child = spawn('sh', ['-c', KEEPER, 'keeper', this.binary, ...args], { stdio: ['pipe', 'ignore', 'inherit'] });
    await this.untilItAnswers();
  }

  /** kill -9. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child) return;
    this.child = undefined;
    const gone = once(child, 'exit');
    child.stdin!.end();
    await gone;
  }

  private async untilItAnswers(): Promise<void> {
    const client = new Redis(this.url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
    client.on('error', () => undefined);
    const late = new AbortController();
    const timeout = sleep(START_TIMEOUT, undefined, { signal: late.signal }).then(() => {
      throw new Error('redis-server does not answer');
    });
    try {
      await Promise.race([client.ping(), timeout]);
    } finally {
      late.abort();
      timeout.catch(() => undefined);
      client.disconnect();
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
