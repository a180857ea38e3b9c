import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CartDto } from '../checkout/cart.dto.js';
import type { Order } from '../orders/order.entity.js';
import type { LedgerEntry, ProviderProcess } from './provider-process.js';
import type { RedisProcess } from './redis-process.js';
import type { ShopProcess } from './shop-process.js';
import type { Stage } from './stage.js';

export type Items = CartDto['items'];

export interface Answer {
  /** 0: the connection broke, or nobody waited any longer. */
  status: number;
  replayed: boolean;
  body: Partial<Order> & { code?: string; message?: string };
}

/** A trouble as the page shows it. */
export interface RunView {
  id: string;
  trouble: string;
  title: string;
  protection: boolean;
  key: string;
  card: string;
  phase: 'running' | 'done' | 'failed';
  /** What happened so far, a sentence each. */
  story: string[];
  requests: number;
  answers: { paid: number; replayed: number; refused: number; failed: number; lost: number };
  charges: number;
  verdict?: string;
}

/** How long a customer retries, and how long after an answer that says nothing, in milliseconds. */
const PATIENCE = 40_000;
const RETRY_AFTER = 250;

/** One payment of one customer, who retries until the answer is definitive, and the trouble on its way. */
export class Scene {
  readonly view: RunView;
  readonly protection: boolean;

  constructor(
    private readonly stage: Stage,
    private readonly items: Items,
    about: Pick<RunView, 'trouble' | 'title' | 'protection'>,
  ) {
    const id = randomUUID();
    this.protection = about.protection;
    this.view = {
      ...about,
      id,
      key: randomUUID(),
      // A token for this payment alone, as payment providers hand them out: it tells whose the charges are.
      card: `tok_${id.slice(0, 8)}`,
      phase: 'running',
      story: [],
      requests: 0,
      answers: { paid: 0, replayed: 0, refused: 0, failed: 0, lost: 0 },
      charges: 0,
    };
  }

  get shops(): readonly [ShopProcess, ShopProcess] {
    return this.stage.shops;
  }

  get provider(): ProviderProcess {
    return this.stage.provider;
  }

  get redis(): RedisProcess | undefined {
    return this.stage.redis;
  }

  tell(sentence: string): void {
    this.view.story.push(sentence);
    this.stage.note('stage', 'said', sentence);
    void this.stage.refresh();
  }

  /** One request. */
  async ask(shop: ShopProcess, { items = this.items, patience = PATIENCE } = {}): Promise<Answer> {
    this.view.requests++;
    const answer = await this.send(shop, items, patience).catch((): Answer => ({
      status: 0,
      replayed: false,
      body: {},
    }));
    this.count(answer);
    return answer;
  }

  /** The same request until there is a definitive answer, at one shop and the other in turn. */
  async askUntilDone(shop: ShopProcess): Promise<Answer> {
    const deadline = Date.now() + PATIENCE;
    for (let at = shop; ; at = this.other(at)) {
      if (at.state === 'running') {
        const answer = await this.ask(at);
        if (!mayRetry(answer)) return answer;
      }
      if (Date.now() > deadline) throw new Error('The customer has given up');
      await sleep(RETRY_AFTER);
    }
  }

  /** Resolves once the provider has charged for this payment, whatever has become of its answer. */
  async untilCharged(): Promise<void> {
    const deadline = Date.now() + PATIENCE;
    while ((await this.charges()).length === 0) {
      if (Date.now() > deadline) throw new Error('The provider was not asked to charge');
      await sleep(20);
    }
  }

  charges(): Promise<LedgerEntry[]> {
    return this.stage.chargesOf(this.view.card);
  }

  other(shop: ShopProcess): ShopProcess {
    return this.shops[0] === shop ? this.shops[1] : this.shops[0];
  }

  private async send(shop: ShopProcess, items: Items, patience: number): Promise<Answer> {
    const response = await fetch(
      `http://127.0.0.1:${shop.port}${this.protection ? '/checkout' : '/unprotected/checkout'}`,
      {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': this.view.key },
        body: JSON.stringify({ items, card: this.view.card }),
        signal: AbortSignal.timeout(patience),
      },
    );
    return {
      status: response.status,
      replayed: response.headers.get('Idempotent-Replayed') === 'true',
      body: (await response.json()) as Answer['body'],
    };
  }

  private count({ status, replayed }: Answer): void {
    const { answers } = this.view;
    if (status === 0) answers.lost++;
    else if (replayed) answers.replayed++;
    else if (status < 300) answers.paid++;
    else if (status < 500) answers.refused++;
    else answers.failed++;
  }
}

function mayRetry({ status, body }: Answer): boolean {
  return status === 0 || status >= 500 || (status === 409 && body.code === 'in-progress');
}
