import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestIdentity } from '../../../lib/engine/identity.js';
import type { Order } from '../app/order.js';
import type { Log } from '../history/log.js';
import type { Workload } from '../history/workloads.js';
import type { App } from './app.js';
import { type Mix, troubleOf, workOf } from './plan.js';
import { Random } from './random.js';
import type { LabDialect } from './servers.js';

export interface ClientSettings {
  readonly seed: string;
  readonly apps: readonly App[];
  readonly dialect: LabDialect;
  readonly mix: Mix;
  readonly leaseMs: number;
  readonly workers: number;
  /** How long a client waits for an answer, for a handler of no length, in milliseconds. */
  readonly patienceMs: number;
}

interface Task {
  readonly op: string;
  readonly workload: Workload;
  readonly key: string;
  readonly principal: string;
  readonly order: Order;
  readonly refused: boolean;
  readonly random: Random;
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly replayed: boolean;
}

/** How long a client waits before it asks another process as well, in milliseconds. */
const IMPATIENCE = 500;

interface Unanswered {
  readonly why: 'broken' | 'timeout';
  readonly error?: string;
}

const PRINCIPALS = ['alice', 'bob'] as const;

/** Clients that ask for operations at any of the processes, each again and again until the answer is definitive. */
export class Clients {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 500 });
  private readonly random: Random;
  private readonly tasks: Task[] = [];
  private readonly unanswered = new Set<Promise<void>>();
  private count = 0;
  private asks = 0;
  private stopped = false;
  private gaveUp = false;

  constructor(
    private readonly settings: ClientSettings,
    private readonly log: Log,
  ) {
    this.random = new Random(`${settings.seed} clients`);
  }

  get operations(): number {
    return this.tasks.length;
  }

  get pending(): number {
    return this.unanswered.size;
  }

  /** Has operations carried out until {@link stop}. */
  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.settings.workers }, () => this.work()));
  }

  /** Begins no more operations. */
  stop(): void {
    this.stopped = true;
  }

  /** Waits until every operation is answered, at most `ms` milliseconds. */
  async settle(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while (this.unanswered.size > 0 && performance.now() < until) await sleep(20);
    this.gaveUp = true;
  }

  /** Asks for everything once more. */
  async askAgain(): Promise<void> {
    this.gaveUp = false;
    const queue = [...this.tasks];
    const worker = async () => {
      for (let task = queue.pop(); task; task = queue.pop()) await this.untilDefinitive(task, 3_000);
    };
    await Promise.all(Array.from({ length: 16 }, worker));
  }

  close(): void {
    this.stopped = true;
    this.gaveUp = true;
    this.agent.destroy();
  }

  private async work(): Promise<void> {
    while (!this.stopped) {
      const done = this.carryOut(this.next());
      this.unanswered.add(done);
      await done.finally(() => this.unanswered.delete(done));
    }
  }

  /** Principals use the same keys, so that one could be given the answer of the other. */
  private next(): Task {
    const { seed, leaseMs, dialect, mix } = this.settings;
    const number = Math.floor(this.count / 2);
    const workload = new Random(`${seed} workload ${number}`).weighted(mix);
    const principal = PRINCIPALS[this.count++ % 2];
    const random = new Random(`${seed} ${number} ${principal}`);
    const name = `${workload}-${number}`;
    const op = `${name}-${principal}`;
    const work = workOf(workload, leaseMs, new Random(`${seed} work ${number}`));
    const { refused, ...trouble } = troubleOf(workload, dialect, new Random(`${seed} trouble ${number}`));
    const key = `${seed}-${number}`;
    const { recordId: record } = digestIdentity({ scope: principal, endpoint: `POST /${workload}`, key });
    this.log.say({ kind: 'operation', op, workload, key, principal, record, ...(refused && { refused }) });
    const task = { op, workload, key, principal, order: { op: name, work, ...trouble }, refused, random };
    this.tasks.push(task);
    return task;
  }

  private async carryOut(task: Task): Promise<void> {
    const { random, workload } = task;
    const duplicates =
      workload === 'waiting'
        ? random.between(2, 4)
        : random.weighted([
            [1, 6],
            [2, 3],
            [3, 1],
          ] as const);
    const asking = Array.from({ length: duplicates }, () => this.untilDefinitive(task));
    await Promise.all(asking);
    if (random.chance(0.1)) await this.ask(task, { misuse: true });
    if (random.chance(0.3)) this.later(task, random.between(100, 6_000));
  }

  private later(task: Task, ms: number): void {
    setTimeout(() => {
      if (!this.stopped) void this.untilDefinitive(task);
    }, ms).unref();
  }

  private async untilDefinitive(task: Task, limitMs = Infinity): Promise<void> {
    const until = performance.now() + limitMs;
    for (let pause = 30; !this.gaveUp && performance.now() < until; pause = Math.min(pause * 1.6, 300)) {
      const asking = this.ask(task);
      this.follow(asking);
      // A process that says nothing may stand still: another is asked meanwhile, and its answer still counts.
      const reply = await Promise.race([asking, sleep(IMPATIENCE + task.order.work)]);
      if (reply && isDefinitive(task, reply)) return;
      if (reply && isHeld(reply)) await this.resolve(task);
      await sleep(pause * (0.5 + Math.random()));
    }
  }

  private follow(asking: Promise<unknown>): void {
    const done = asking.then(() => undefined);
    this.unanswered.add(done);
    void done.finally(() => this.unanswered.delete(done));
  }

  private async ask(task: Task, { misuse }: { misuse?: true } = {}): Promise<Reply | undefined> {
    const { op, key, principal, workload, order } = task;
    const app = this.random.pick(this.settings.apps);
    const ask = ++this.asks;
    const patience = this.settings.patienceMs + order.work;
    const givesUp = this.random.chance(0.03);
    this.log.say({ kind: 'ask', op, ask, app: app.name, misuse });
    const reply = await this.post(
      `${app.url}/${workload}`,
      misuse ? { ...order, work: order.work + 1 } : order,
      { 'idempotency-key': key, 'x-principal': principal },
      givesUp ? this.random.between(1, 200) : patience,
    );
    if ('why' in reply) {
      const why = reply.why === 'timeout' && givesUp ? 'gaveUp' : reply.why;
      this.log.say({ kind: 'lost', op, ask, why, error: reply.error });
      return undefined;
    }
    this.log.say({ kind: 'answer', op, ask, ...reply, definitive: isDefinitive(task, reply), misuse });
    return reply;
  }

  /** An operator who takes what is unknown to have happened. */
  private async resolve({ op, key, principal, workload }: Task): Promise<void> {
    const app = this.random.pick(this.settings.apps);
    const order = { op, key, scope: principal, operation: `POST /${workload}` };
    // Said before, as the answer may get lost.
    this.log.say({ kind: 'resolved', op });
    await this.post(`${app.url}/operator/resolve`, order, {}, this.settings.patienceMs);
  }

  post(url: string, body: object, headers: Record<string, string>, patienceMs: number) {
    const text = JSON.stringify(body);
    return new Promise<Reply | Unanswered>((resolve) => {
      const sent = request(
        url,
        {
          method: 'POST',
          agent: this.agent,
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error) => resolve({ why: 'broken', error: error.message }));
          response.on('end', () =>
            resolve({
              status: response.statusCode!,
              type: response.headers['content-type'] ?? '',
              body: Buffer.concat(chunks).toString(),
              replayed: response.headers['idempotent-replayed'] === 'true',
            }),
          );
        },
      );
      const timer = setTimeout(() => {
        resolve({ why: 'timeout' });
        sent.destroy();
      }, patienceMs);
      sent.on('error', (error) => resolve({ why: 'broken', error: error.message }));
      sent.on('close', () => clearTimeout(timer));
      sent.end(text);
    });
  }
}

/** Whether there is nothing to be gained by asking again. An operation that is refused ends with an error. */
function isDefinitive({ refused }: Task, { status, body }: Reply): boolean {
  if (refused && status === 500) return true;
  if (status >= 500 || status === 408 || status === 425 || status === 429) return false;
  return status !== 409 || (!isHeld({ body }) && !body.includes('"retryable":true'));
}

function isHeld({ body }: Pick<Reply, 'body'>): boolean {
  return body.includes('"code":"outcome-unknown"');
}
