import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { saysTooManyConnections } from './poisoned-connections.js';

/** A driver's pool of connections, as the store uses it. */
export interface Pool<Connection> {
  /** How many connections are open; not those that are about to be, which the server may refuse. */
  readonly size: number;
  /** How many connections it may have. */
  readonly limit: number;
  /** Whether a connection would have to be waited for. */
  readonly isExhausted: boolean;
  take(): Promise<Connection>;
  /** Changes how many connections it may have. */
  limitTo(connections: number): void;
  /** Closes the idle connections. */
  closeIdle(): void;
  /** Closes all connections, those in use once they are given back. */
  end(): Promise<void>;
}

/** How long the end of a pool waits for its statements, in milliseconds. */
const END_AFTER_MS = 1_000;

/** Waits for the end of a pool, for a while: idle connections do not keep the process alive until then, so this does. */
export function ended(end: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, END_AFTER_MS);
    end(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** How long the store does with fewer connections after the server refused one, in milliseconds. */
const CROWDED_FOR_MS = 10_000;

/** How often, and after which pauses, a connection is asked for while the server refuses to open any. */
const TRIES_WHILE_CROWDED = 20;
const PAUSE_WHILE_CROWDED_MS = 50;

/**
 * The store's connections: a few of its own, opened when needed, or those of the data source's pool.
 *
 * A statement of ours stands for many requests, or keeps a lease: it is not to queue behind the statements of handlers, nor
 * to go without a connection where handlers hold them all. Where the server accepts no further connection, the store does
 * with those of its own that are open, and shares the data source's pool if none is.
 */
export class StorePools<Connection> {
  private own: Pool<Connection> | undefined;
  private crowded: NodeJS.Timeout | undefined;
  private warned = false;

  /**
   * @param open opens a pool of up to so many connections; returns `undefined` where the driver offers no way to
   * @param limit how many connections the store may have of its own; 0: it shares the data source's
   * @param spills returns whether statements may go to free connections of the data source's pool while those of our own are
   *   all in use, as by statements that wait for locked rows
   */
  constructor(
    readonly shared: Pool<Connection>,
    private readonly open: (connections: number) => Pool<Connection> | undefined,
    private limit: number,
    private readonly spills = () => false,
  ) {}

  /** Whether the store has no connections of its own at present. */
  get isShared(): boolean {
    return this.limit === 0 || (this.crowded !== undefined && this.own?.size === 0);
  }

  /** The pool to take a connection from. */
  get current(): Pool<Connection> {
    if (this.isShared) return this.shared;
    if (!this.own) {
      this.own = this.open(this.limit);
      if (!this.own) this.limit = 0;
    }
    if (!this.own || (this.own.isExhausted && this.spills() && !this.shared.isExhausted)) return this.shared;
    return this.own;
  }

  /**
   * Takes a connection where the pool of our own failed to open one.
   *
   * @throws `error` unless it says that the server accepts no further connection
   */
  async takeAfter(error: unknown): Promise<Connection> {
    const { own } = this;
    if (!own || this.limit === 0 || !saysTooManyConnections(error)) throw error;
    this.doWithFewer(own);
    for (let tries = TRIES_WHILE_CROWDED; ; tries--) {
      if (own.size > 0) {
        own.limitTo(own.size);
        return own.take().catch((again: unknown) => this.takeAfter(again));
      }
      try {
        return await this.shared.take();
      } catch (refused) {
        if (tries === 0 || !saysTooManyConnections(refused)) throw refused;
      }
      // One of ours may be about to open, and the data source's may become free: its pool would rather open another one.
      await sleep(PAUSE_WHILE_CROWDED_MS);
    }
  }

  /** Closes idle connections: they were opened to the server as it was before. */
  closeIdle(): void {
    this.own?.closeIdle();
    this.shared.closeIdle();
  }

  /** What comes after all goes through the data source's pool. */
  async close(): Promise<void> {
    const { own } = this;
    clearTimeout(this.crowded);
    this.limit = 0;
    this.own = undefined;
    await own?.end();
  }

  private doWithFewer(own: Pool<Connection>): void {
    clearTimeout(this.crowded);
    this.crowded = setTimeout(() => {
      this.crowded = undefined;
      own.limitTo(this.limit);
    }, CROWDED_FOR_MS).unref();
    if (this.warned) return;
    this.warned = true;
    new Logger('Idempotency').warn(
      'The database accepts no further connections: the store does with fewer of its own, and shares those of the data source',
    );
  }
}
