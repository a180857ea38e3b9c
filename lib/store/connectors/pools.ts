import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { saysTooManyConnections } from './poisoned-connections.js';

/** What the store needs of a driver's pool of connections. */
export interface Pool<Connection> {
  /** The number of open connections, without those that are being opened: the server may refuse them. */
  readonly size: number;
  readonly limit: number;
  /** Whether {@link take} would wait for a connection. */
  readonly isExhausted: boolean;
  /** The driver's pool, which the data source replaces when it is initialized again. Absent while it is not initialized. */
  readonly source?: object;
  take(): Promise<Connection>;
  /** Returns whether a connection is one of the pool's. Present in pools of the store's own. */
  owns?(connection: Connection): boolean;
  limitTo(connections: number): void;
  closeIdle(): void;
  /** Closes all connections, those in use once they are released. */
  end(): Promise<void>;
}

/**
 * How long a connection of the store's own is idle before the kernel asks whether it still exists. Gateways forget idle connections after
 * minutes, without telling either side, and the store keeps some open for as long as the process lives.
 */
export const KEEP_ALIVE_AFTER_MS = 30_000;

/** How long the end of a pool waits for its statements: one that hangs must not stop the shutdown. */
const END_AFTER_MS = 1_000;

/** Waits for the end of a pool. Its timer keeps the process alive, because idle connections do not. */
export function ended(end: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, END_AFTER_MS);
    end(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** How long the store uses fewer connections after the server refused one: each further attempt would cost a request time. */
const CROWDED_FOR_MS = 10_000;

/** How often, and after which pauses, a statement tries to get a connection while the server refuses to open any. */
const TRIES_WHILE_CROWDED = 20;
const PAUSE_WHILE_CROWDED_MS = 50;

/**
 * The store's connections: a few of its own, opened when needed, or those of the data source's pool.
 *
 * A statement of the store serves many requests, or keeps a lease. It must not wait behind handlers that hold every
 * connection.
 *
 * The states of the store's own pool:
 * - none: the store shares the data source's pool. Final where `limit` is 0: by the option, where the driver offers no way to
 *   open a pool, and after `close()`. Otherwise, the next statement opens it.
 * - open: statements use it. Left when the data source is initialized again: the next statement opens another one.
 * - crowded: open, but the server has refused a further connection. It gets no more than it has for {@link CROWDED_FOR_MS}. If
 *   it has none, the store shares the data source's pool meanwhile.
 */
export class StorePools<Connection> {
  /** Called after the data source was initialized again: connections lead to where it was before. */
  onReplaced: () => void = () => undefined;
  private own: Pool<Connection> | undefined;
  /** The data source's pool when `own` was opened with its settings. */
  private openedFor: object | undefined;
  private crowded: NodeJS.Timeout | undefined;
  private warned = false;

  /**
   * @param open opens a pool of up to so many connections; returns `undefined` where the driver offers no way
   * @param limit how many connections of its own the store may have; 0: it shares the data source's
   * @param spills returns whether statements may use free connections of the data source's pool while all of the store's own
   *   are in use, as by statements that wait for locked rows
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

  /** Returns whether handlers use a connection too. */
  sharesConnection(connection: Connection): boolean {
    return this.own?.owns?.(connection) !== true;
  }

  /** Returns the pool for the next statement. Opens the store's own at the first one, and again after the data source was replaced. */
  choose(): Pool<Connection> {
    if (this.own && this.isReplaced) this.leaveOwn();
    if (this.isShared) return this.shared;
    if (!this.own) {
      this.own = this.open(this.limit);
      this.openedFor = this.shared.source;
      if (!this.own) this.limit = 0;
    }
    if (!this.own || (this.own.isExhausted && this.spills() && !this.shared.isExhausted)) return this.shared;
    return this.own;
  }

  /**
   * Takes a connection after the store's own pool failed to open one.
   *
   * @throws `error` unless it says that the server refuses further connections
   */
  async takeAfter(error: unknown): Promise<Connection> {
    const { own } = this;
    if (!own || this.limit === 0 || !saysTooManyConnections(error)) throw error;
    this.useFewer(own);
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
      // Meanwhile, a connection may be opened or become free. The data source's pool tries to open one more each time.
      await sleep(PAUSE_WHILE_CROWDED_MS);
    }
  }

  /** Closes idle connections, which may lead to a server that was demoted. */
  closeIdle(): void {
    this.own?.closeIdle();
    this.shared.closeIdle();
  }

  /** Later statements use the data source's pool. */
  async close(): Promise<void> {
    const { own } = this;
    clearTimeout(this.crowded);
    this.limit = 0;
    this.own = undefined;
    await own?.end();
  }

  /** Whether the data source has been initialized again, possibly with another address or password. */
  private get isReplaced(): boolean {
    const { source } = this.shared;
    return source !== undefined && source !== this.openedFor;
  }

  private leaveOwn(): void {
    void this.own?.end();
    this.own = undefined;
    this.onReplaced();
  }

  private useFewer(own: Pool<Connection>): void {
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
