import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer as HttpAnswer, call } from '../../support/http-client.js';
import { Random } from '../../faults/lab/random.js';
import { now } from './clock.js';
import type { Order, Route } from './order.js';

/** A definitive answer. */
export interface Answer {
  readonly askedAt: number;
  readonly at: number;
  readonly status: number;
  readonly body: string;
  readonly replayed: boolean;
}

export interface Operation {
  readonly order: Order;
  readonly route: Route;
  readonly key: string;
  readonly answers: Answer[];
}

export interface ClientSettings {
  /** The applications' addresses, asked at random. */
  readonly urls: () => readonly string[];
  readonly routes: readonly Route[];
  readonly workers: number;
  /** How long a client waits for an answer before it asks another application, in milliseconds. */
  readonly patienceMs: number;
}

/** How long a retrying client rests, in milliseconds. */
const PAUSE = 60;
/** How many requests it takes to ask for everything once more. */
const ASKING_AGAIN = 32;

/**
 * Clients that ask for operations, some of them several times at once: most of them again and again until the answer is
 * definitive, some give up after a moment and never come back.
 */
export class Clients {
  readonly operations: Operation[] = [];
  /** What was answered that was not definitive, and how often. */
  readonly refusals = new Map<string, number>();
  private readonly random = new Random(randomUUID());
  private stopped = false;
  private working: Promise<unknown> = Promise.resolve();

  constructor(private readonly settings: ClientSettings) {}

  /** When operations were answered that ran for that: ordered. */
  readonly served: number[] = [];

  start(): void {
    this.working = Promise.all(Array.from({ length: this.settings.workers }, () => this.work()));
  }

  /** Begins no more operations, and waits for those under way. */
  async stop(limitMs: number): Promise<void> {
    this.stopped = true;
    this.deadline = now() + limitMs;
    await this.working;
  }

  private deadline = Infinity;

  /** Asks for everything once more, also for what no client waited for. */
  async askAgain(limitMs: number): Promise<void> {
    this.deadline = now() + limitMs;
    const queue = [...this.operations];
    const worker = async () => {
      for (let next = queue.pop(); next; next = queue.pop()) await this.untilDefinitive(next);
    };
    await Promise.all(Array.from({ length: ASKING_AGAIN }, worker));
  }

  private async work(): Promise<void> {
    while (!this.stopped) await this.perform(this.next());
  }

  private next(): Operation {
    const { random } = this;
    const operation: Operation = {
      order: { op: randomUUID(), work: random.between(0, 60) },
      route: random.pick(this.settings.routes),
      key: randomUUID(),
      answers: [],
    };
    this.operations.push(operation);
    return operation;
  }

  private async perform(operation: Operation): Promise<void> {
    const { random } = this;
    const givesUp = random.chance(0.1);
    if (givesUp) await this.ask(operation, random.between(1, 150));
    // Half of those that gave up never come back: whether they have run is unknown until everything is asked again.
    if (givesUp && random.chance(0.5)) return;
    const duplicates = random.weighted([
      [1, 6],
      [2, 3],
      [3, 1],
    ] as const);
    await Promise.all(Array.from({ length: duplicates }, () => this.untilDefinitive(operation)));
  }

  private async untilDefinitive(operation: Operation): Promise<void> {
    while (now() < this.deadline) {
      if (await this.ask(operation, this.settings.patienceMs)) return;
      await sleep(PAUSE * (0.5 + Math.random()));
    }
  }

  /** Whether the answer was definitive. */
  private async ask({ order, route, key, answers }: Operation, patienceMs: number): Promise<boolean> {
    const url = this.random.pick(this.settings.urls());
    const askedAt = now();
    let answer: HttpAnswer;
    try {
      answer = await call(`${url}/${route}`, { key, body: order, signal: AbortSignal.timeout(patienceMs) });
    } catch (error) {
      this.count(['AbortError', 'TimeoutError'].includes((error as Error).name) ? 'gave up' : 'connection lost');
      return false;
    }
    const { status, body } = answer;
    if (isRetryable(answer)) {
      this.count(String(status));
      return false;
    }
    const at = now();
    const replayed = answer.headers['idempotent-replayed'] === 'true';
    if (!replayed) this.served.push(at);
    answers.push({ askedAt, at, status, body, replayed });
    return true;
  }

  private count(what: string): void {
    this.refusals.set(what, (this.refusals.get(what) ?? 0) + 1);
  }
}

function isRetryable({ status, body }: HttpAnswer): boolean {
  return status >= 500 || [408, 425, 429].includes(status) || (status === 409 && body.includes('"retryable":true'));
}
