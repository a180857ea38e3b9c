import { config } from '../config.js';
import { LiveStream } from './live-stream.js';
import { Observer } from './observer.js';
import { type LedgerEntry, ProviderProcess } from './provider-process.js';
import { RedisProcess } from './redis-process.js';
import type { RunView } from './scene.js';
import { ShopProcess } from './shop-process.js';

/** How often to look whether something has changed while somebody watches, in milliseconds. */
const LOOK_EVERY = 200;
/** Brisker than a shop alone: an audience waits for every lease that runs out. */
const LEASE = process.env.LEASE ?? '3s';
const HAPPENINGS_KEPT = 150;
const CHARGES_SHOWN = 60;

export interface Happening {
  /** Grows by one; unique while the stage stands. */
  id: number;
  /** Milliseconds since 1970. */
  at: number;
  /** `shop 1`, `shop 2`, `provider`, `redis` or `stage`. */
  source: string;
  /** An event of the library's, or `said`. */
  type: string;
  text: string;
  recordId?: string;
}

/**
 * Two shops on one database, a payment provider and, where it is installed, a Redis: real processes. The stage starts
 * and ends them, and shows what they do. It is for demonstrations: no part of a shop.
 */
export class Stage {
  readonly live = new LiveStream();
  readonly shops: readonly [ShopProcess, ShopProcess] = [this.newShop('shop 1'), this.newShop('shop 2')];
  provider!: ProviderProcess;
  /** The stage's own; undefined where it has none. */
  redis: RedisProcess | undefined;
  /** The trouble that is being played, or was played last. */
  run: RunView | undefined;

  private observer: Observer | undefined;
  private readonly happenings: Happening[] = [];
  private lastId = 0;
  private lastState = '';
  private looking: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;

  async open(): Promise<void> {
    this.provider = await ProviderProcess.start((text) => this.note('provider', 'said', text));
    if (config.redisUrls.length === 0) {
      this.redis = await RedisProcess.find();
      await this.redis?.start();
    }
    // One after the other: the first makes the tables.
    for (const shop of this.shops) await shop.start();
    this.observer = await Observer.open();
    this.timer = setInterval(() => void this.refresh(), LOOK_EVERY);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.live.close();
    await Promise.all(this.shops.map((shop) => shop.close()));
    await this.redis?.kill();
    this.provider?.close();
    await this.observer?.close();
  }

  /** Why there is no Redis to be taken away. */
  get whyNoRedis(): string | undefined {
    if (this.redis) return undefined;
    return config.redisUrls.length > 0
      ? 'The shops use the Redis that REDIS_URLS names; the page takes away only one that it has started itself.'
      : 'There is no redis-server on this machine. Install it (apt-get install redis-server, brew install redis) and ' +
          'start again: then this kills Redis while customers pay, and shows that the database alone keeps it at one charge.';
  }

  note(source: string, type: string, text: string, recordId?: string): void {
    const happening: Happening = { id: ++this.lastId, at: Date.now(), source, type, text, recordId };
    this.happenings.push(happening);
    if (this.happenings.length > HAPPENINGS_KEPT) this.happenings.shift();
    this.live.send('happening', happening);
  }

  /** What a newcomer is shown. */
  async greeting(): Promise<Record<string, unknown>> {
    return { happenings: this.happenings, state: await this.state() };
  }

  /** For the next audience: nothing has been bought, charged or recorded. */
  async startOver(): Promise<void> {
    await this.observer?.clear();
    await this.provider.clearLedger();
    this.run = undefined;
    this.happenings.length = 0;
    await this.refresh();
  }

  async chargesOf(card: string): Promise<LedgerEntry[]> {
    return (await this.provider.ledger()).filter((entry) => entry.card === card);
  }

  /** Shows what has changed, if anything has. One look at a time, so that no older state follows a newer one. */
  refresh(): Promise<void> {
    this.looking ??= this.look().finally(() => (this.looking = undefined));
    return this.looking;
  }

  private async look(): Promise<void> {
    if (!this.live.watched || !this.observer) return;
    const state = await this.state().catch(() => undefined);
    const text = JSON.stringify(state);
    if (!state || text === this.lastState) return;
    this.lastState = text;
    this.live.send('state', state);
  }

  private newShop(name: string): ShopProcess {
    return new ShopProcess(name, {
      env: () => ({ ...process.env, LEASE, ...(this.redis && { REDIS_URLS: this.redis.url }) }),
      onChange: (what) => this.note(name, 'said', what),
      onEvent: ({ type, text, recordId }) => this.note(name, type, text, recordId),
    });
  }

  private async state() {
    const observer = this.observer!;
    const [products, orders, records, ledger] = await Promise.all([
      observer.products(),
      observer.orders(),
      observer.records(),
      this.provider.ledger(),
    ]);
    return {
      lease: LEASE,
      protectionPossible: config.protection,
      shops: this.shops.map(({ name, state, pid }) => ({ name, state, pid })),
      provider: { mode: this.provider.mode },
      redis: { state: this.redis ? (this.redis.running ? 'running' : 'dead') : 'absent', why: this.whyNoRedis },
      products,
      orders,
      records,
      ledger: { total: ledger.length, newest: ledger.slice(-CHARGES_SHOWN).toReversed() },
      run: this.run,
    };
  }
}
