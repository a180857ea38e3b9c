import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestIdentity } from '../../../lib/engine/identity.js';
import type { Order } from '../app/order.js';
import type { Log } from '../history/log.js';
import { type Workload, WORKLOADS } from '../history/workloads.js';
import { post, type Reply } from './post.js';
import { mixFor, troubleOf, workOf } from './plan.js';
import type { Profile } from './profile.js';
import { Random } from './random.js';
import type { LabDialect } from './servers.js';
import { Throttle } from './throttle.js';

export interface ClientSettings {
  readonly seed: string;
  readonly apps: readonly { readonly name: string; readonly url: string }[];
  readonly dialect: LabDialect;
  readonly profile: Profile;
  readonly workers: number;
  /** No other operations than of these kinds. */
  readonly only?: readonly string[];
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
  readonly abandoned: boolean;
  readonly random: Random;
}

/** How long a process that said nothing is passed over, in milliseconds. */
const PASSED_OVER_FOR = 400;

interface AskOptions {
  readonly misuse?: true;
  readonly givesUp?: boolean;
}

const PRINCIPALS = ['alice', 'bob'] as const;

/** Clients that ask for operations at any of the processes, each again and again until the answer is definitive. */
export class Clients {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: 500 });
  private readonly random: Random;
  private readonly tasks: Task[] = [];
  private readonly unanswered = new Set<Promise<void>>();
  /** Until when a process is passed over, by its name. */
  private readonly passedOver = new Map<string, number>();
  private readonly mix: ReturnType<typeof mixFor>;
  private readonly throttle: Throttle | undefined;
  private count = 0;
  private asks = 0;
  private stopped = false;
  private gaveUp = false;

  constructor(
    private readonly settings: ClientSettings,
    private readonly log: Log,
  ) {
    this.random = new Random(`${settings.seed} clients`);
    this.mix = mixFor(settings.profile, settings.dialect, settings.only);
    if (settings.profile.clients.considerate) this.throttle = new Throttle(settings.workers);
  }

  get operations(): number {
    return this.tasks.length;
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

  /** Asks once more for what its client comes back for: for all of it, or for a part. */
  async askAgain(): Promise<void> {
    this.gaveUp = false;
    const { asksAgain } = this.settings.profile.clients;
    const queue = this.tasks.filter((task) => !task.abandoned && this.random.chance(asksAgain));
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
      await this.throttle?.free();
      if (this.stopped) return this.throttle?.release();
      const done = this.perform(this.next());
      this.unanswered.add(done);
      await done.finally(() => this.unanswered.delete(done));
      this.throttle?.release();
    }
  }

  /** Principals use the same keys, so that one could be given the answer of the other. */
  private next(): Task {
    const { seed, dialect, profile } = this.settings;
    const number = Math.floor(this.count / 2);
    const workload = new Random(`${seed} workload ${number}`).weighted(this.mix);
    const principal = PRINCIPALS[this.count++ % 2];
    const random = new Random(`${seed} ${number} ${principal}`);
    const name = `${workload}-${number}`;
    const op = `${name}-${principal}`;
    const work = workOf(workload, profile, new Random(`${seed} work ${number}`));
    const { refused, ...trouble } = troubleOf(workload, dialect, new Random(`${seed} trouble ${number}`));
    const key = `${seed}-${number}`;
    const { recordId: record } = digestIdentity({ scope: principal, endpoint: `POST /${workload}`, key });
    const abandoned = canBeAbandoned(workload) && random.chance(profile.clients.abandons);
    const marks = { ...(refused && { refused }), ...(abandoned && { abandoned }) };
    this.log.say({ kind: 'operation', op, workload, key, principal, record, ...marks });
    const order = { op: name, work, ...trouble };
    const task = { op, workload, key, principal, order, refused, abandoned, random };
    this.tasks.push(task);
    return task;
  }

  private async perform(task: Task): Promise<void> {
    const { random, workload } = task;
    if (task.abandoned) return this.askOnce(task);
    const { doubles, waiters, misuses, asksLater } = this.settings.profile.clients;
    const many = random.chance(doubles) ? random.between(2, 3) : 1;
    const times = workload === 'waiting' ? random.between(...waiters) : many;
    const asking = Array.from({ length: times }, () => this.untilDefinitive(task));
    await Promise.all(asking);
    if (random.chance(misuses)) await this.ask(task, { misuse: true });
    if (random.chance(asksLater)) this.later(task, random.between(100, 6_000));
  }

  /** A client that never comes back, and may not even wait. */
  private async askOnce(task: Task): Promise<void> {
    this.log.say({ kind: 'met', op: task.op, what: 'client never came back' });
    await this.ask(task, { givesUp: task.random.chance(0.5) });
  }

  private later(task: Task, ms: number): void {
    setTimeout(() => {
      if (!this.stopped) void this.untilDefinitive(task);
    }, ms).unref();
  }

  private async untilDefinitive(task: Task, limitMs = Infinity): Promise<void> {
    const until = performance.now() + limitMs;
    let patience = this.settings.profile.clients.hedgeAfterMs;
    for (let pause = 30; !this.gaveUp && performance.now() < until; pause = Math.min(pause * 1.6, 300)) {
      const asking = this.ask(task);
      this.follow(asking);
      // A process that says nothing may stand still: another is asked meanwhile, and its answer still counts.
      const reply = await within(patience + task.order.work, asking);
      if (!reply) patience = Math.min(patience * 1.5, this.settings.patienceMs);
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

  private async ask(
    task: Task,
    { misuse, givesUp = this.random.chance(this.settings.profile.clients.givesUp) }: AskOptions = {},
  ): Promise<Reply | undefined> {
    const { op, key, principal, workload, order } = task;
    const { profile, patienceMs } = this.settings;
    const app = this.choose();
    const ask = ++this.asks;
    const patience = patienceMs + order.work;
    this.log.say({ kind: 'ask', op, ask, app: app.name, misuse });
    const askedAt = performance.now();
    const asked = post(
      this.agent,
      `${app.url}/${workload}`,
      misuse ? { ...order, work: order.work + 1 } : order,
      { 'idempotency-key': key, 'x-principal': principal, 'x-op': order.op },
      givesUp ? this.random.between(1, 200) : patience,
    );
    const passOver = setTimeout(() => this.passOver(app.name), profile.clients.hedgeAfterMs / 2 + order.work);
    const reply = await asked.finally(() => clearTimeout(passOver));
    this.throttle?.learn(performance.now() - askedAt, 'why' in reply || reply.status === 503);
    if ('why' in reply) {
      const why = reply.why === 'timeout' && givesUp ? 'gaveUp' : reply.why;
      if (why === 'broken') this.passOver(app.name);
      this.log.say({ kind: 'lost', op, ask, why, error: reply.error });
      return undefined;
    }
    this.log.say({ kind: 'answer', op, ask, ...reply, definitive: isDefinitive(task, reply), misuse });
    return reply;
  }

  private choose() {
    const { apps, profile } = this.settings;
    const sound = apps.filter(({ name }) => (this.passedOver.get(name) ?? 0) < performance.now());
    return this.random.pick(profile.clients.considerate && sound.length ? sound : apps);
  }

  private passOver(app: string): void {
    this.passedOver.set(app, performance.now() + PASSED_OVER_FOR);
  }

  /** An operator who takes what is unknown to have happened. */
  private async resolve({ op, key, principal, workload }: Task): Promise<void> {
    const app = this.choose();
    const order = { op, key, scope: principal, operation: `POST /${workload}` };
    // Said before, as the answer may get lost.
    this.log.say({ kind: 'resolved', op });
    await post(this.agent, `${app.url}/operator/resolve`, order, {}, this.settings.patienceMs);
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

/** What has steps on record, or is held, is kept until someone asks again. */
function canBeAbandoned(workload: Workload): boolean {
  return WORKLOADS[workload].steps === undefined && workload !== 'held';
}

/** What a promise comes to, or `undefined` once so many milliseconds have passed. */
function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
