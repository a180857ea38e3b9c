import { randomUUID } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { postgresPoolOf } from '../private-names/typeorm.js';
import type { Connector } from './connectors/connector.js';
import type { PgConnection } from './dialects/postgres.js';

/** What we use of a `pg` client that listens. */
interface PgListener {
  connect(): Promise<unknown>;
  query(sql: string): Promise<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>;
  on(event: 'notification', listener: (message: { channel: string; payload?: string }) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
}

interface PgPool {
  readonly Client: new (options: object) => PgListener;
  readonly options: object;
}

const CHANNEL = 'nestjs_idempotency';

/** How long a listening connection may take to hear its first announcement once that was sent, in milliseconds. */
const PROBE_FOR = 1_000;

/** How long its first announcement may take to be sent, in milliseconds. */
const SEND_WITHIN = 1_000;

/** For how long a connection that hears nothing is taken for the rule, in milliseconds. */
const DEAF_FOR = 60_000;

/** How long the listening connection stays open without waiting requests, in milliseconds. */
const KEEP_FOR = 30_000;

/** The pause before the next attempt to reconnect, in milliseconds. */
const LISTEN_AGAIN = 1_000;

/**
 * Wakes waiters through LISTEN and NOTIFY, where there is no Redis. One connection of its own in each process that
 * has waiters; an announcement is sent only for a record that is marked as awaited, as each NOTIFY costs the
 * database a place in the order of its commits.
 *
 * A pooler that hands out connections by the transaction accepts LISTEN, and its client never hears a thing: so a new
 * connection is believed once it has heard an announcement.
 *
 * Announcements are sent on the store's own connections: handlers may hold all of the data source's pool.
 */
export class PostgresWakeUp implements WakeUp {
  private readonly listeners = new Map<string, Set<() => void>>();
  private connection: Promise<PgListener> | undefined;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;
  private deafUntil = 0;
  private warned = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector<PgConnection>,
  ) {
    // A server that was demoted keeps the connection, and hears nothing of what is announced to the new primary.
    connector.onStale?.(() => void this.connection?.then((client) => client.end()).catch(() => undefined));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    clearTimeout(this.idle);
    let ofRecord = this.listeners.get(recordId);
    if (!ofRecord) this.listeners.set(recordId, (ofRecord = new Set()));
    ofRecord.add(onWake);
    try {
      await (this.connection ?? this.open());
    } catch (error) {
      this.unsubscribe(recordId, onWake);
      throw error;
    }
    return { close: () => this.unsubscribe(recordId, onWake) };
  }

  async announce(recordId: string): Promise<void> {
    try {
      await this.send(recordId);
    } catch {
      // Requests that wait look from time to time.
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.disconnect();
  }

  private async disconnect(): Promise<void> {
    clearTimeout(this.idle);
    const { connection } = this;
    this.connection = undefined;
    await connection?.then((client) => client.end()).catch(() => undefined);
  }

  private unsubscribe(recordId: string, onWake: () => void): void {
    const ofRecord = this.listeners.get(recordId);
    ofRecord?.delete(onWake);
    if (ofRecord?.size === 0) this.listeners.delete(recordId);
    if (this.listeners.size > 0) return;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => void this.disconnect(), KEEP_FOR).unref();
  }

  private open(): Promise<PgListener> {
    const connection: Promise<PgListener> = this.listen(() => {
      // Called twice, for an error and for the end, and also after we have closed it.
      if (this.connection !== connection) return;
      this.connection = undefined;
      this.relisten();
    });
    this.connection = connection;
    connection.catch(() => {
      if (this.connection === connection) this.connection = undefined;
    });
    return connection;
  }

  /** @param onLost called where a connection that listened does so no longer */
  private async listen(onLost: () => void): Promise<PgListener> {
    if (performance.now() < this.deafUntil) throw new Error('announcements are not heard');
    const client = new this.pool.Client(this.pool.options);
    let listens = false;
    const lost = () => listens && onLost();
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', ({ payload }) => {
      for (const wake of this.listeners.get(payload ?? '') ?? []) wake();
    });
    try {
      await client.connect();
      // The address may still lead to a primary that was demoted, which hears nothing of what is announced to the new one.
      const { rows } = await client.query("SELECT current_setting('transaction_read_only') AS readonly");
      if (rows[0].readonly === 'on') throw new Error('the server takes no writes');
      await client.query(`LISTEN ${CHANNEL}`);
      await this.probe();
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    listens = true;
    return client;
  }

  /** @throws Error where an announcement by another connection could not be sent, or is not heard */
  private async probe(): Promise<void> {
    const probe = randomUUID();
    const heard = new Promise<void>((resolve) => this.listeners.set(probe, new Set([resolve])));
    try {
      await within(SEND_WITHIN, this.send(probe), 'announcements could not be sent');
      await within(PROBE_FOR, heard, 'announcements are not heard').catch((error: unknown) => {
        this.beDeaf();
        throw error;
      });
    } finally {
      this.listeners.delete(probe);
    }
  }

  private beDeaf(): void {
    this.deafUntil = performance.now() + DEAF_FOR;
    if (this.warned) return;
    this.warned = true;
    new Logger('Idempotency').warn(
      'NOTIFY is not heard, as behind a pooler in transaction mode: requests that wait look from time to time',
    );
  }

  private send(payload: string): Promise<unknown> {
    const statement = { text: 'SELECT pg_notify($1, $2)', values: [CHANNEL, payload] };
    return this.connector.alone((on) => on.query(statement));
  }

  /** Announcements made meanwhile were lost, so that everyone has to look. */
  private relisten(): void {
    if (this.closed || this.connection || this.listeners.size === 0) return;
    this.open().then(
      () => this.listeners.forEach((ofRecord) => ofRecord.forEach((wake) => wake())),
      () => void setTimeout(() => this.relisten(), LISTEN_AGAIN).unref(),
    );
  }

  private get pool(): PgPool {
    return postgresPoolOf(this.dataSource);
  }
}

/** @throws Error with the message if it takes longer than `ms` milliseconds */
async function within<T>(ms: number, work: Promise<T>, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(message)), ms);
  });
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}
