import { randomUUID } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { outsideRequests } from '../engine/outside-requests.js';
import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { cutConnection, type PgSocketInternals } from '../private-names/pg.js';
import { postgresPoolOf } from '../private-names/typeorm.js';
import type { Connector } from './connectors/connector.js';
import { keptAlive } from './connectors/postgres-pool.js';
import { withDeadline } from './deadline.js';
import type { PgConnection } from './dialects/postgres.js';

/** What the wake-up needs of a `pg` client that listens. */
interface PgListener extends PgSocketInternals {
  connect(): Promise<unknown>;
  query(sql: string): Promise<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>;
  on(event: 'notification', listener: (message: { channel: string; payload?: string }) => void): unknown;
  on(event: 'error' | 'end', listener: () => void): unknown;
  end(): Promise<void>;
  unref?(): void;
}

interface PgPool {
  readonly Client: new (options: object) => PgListener;
  readonly options: object;
}

const CHANNEL = 'nestjs_idempotency';

const NOT_HEARD = 'announcements are not heard';

/** How long a connection may take to open. Meanwhile, a request that waits does not look at its record. */
const OPEN_WITHIN_MS = 2_000;

/** How long a connection may take to close. */
const CLOSE_WITHIN_MS = 1_000;

/** How long a probe may take to arrive. After that, a pooler is assumed to swallow announcements. */
const HEAR_WITHIN_MS = 1_000;

/** How long it may take to send a probe. A database that is that slow proves nothing about the listening connection. */
const SEND_WITHIN_MS = 1_000;

/** How long no further connection is tried after one that heard nothing: each attempt delays a waiting request. */
const UNHEARD_FOR_MS = 60_000;

/** How long the listening connection stays open without waiting requests: to open one takes several round trips. */
const IDLE_TIMEOUT_MS = 30_000;

/** The pause before the next attempt to reconnect: a server that restarts refuses many attempts. */
const RECONNECT_AFTER_MS = 1_000;

/**
 * Wakes waiting requests through LISTEN and NOTIFY, where there is no Redis. Each process with waiters has one connection
 * that listens. The engine announces only records that are marked as awaited, because NOTIFY serializes commits.
 *
 * A pooler in transaction mode accepts LISTEN, but never delivers an announcement. So a new connection must hear a probe
 * before it is used.
 *
 * Announcements are sent on the store's own connections, because handlers may hold the data source's whole pool.
 *
 * The states of the listening connection:
 * - absent: no request waits. The first `subscribe` opens it.
 * - opening: connects, checks that the server takes writes, and hears its probe. Then it is listening; an error makes it
 *   absent, and the waiters poll.
 * - listening: every announcement wakes the waiters of its record. After {@link IDLE_TIMEOUT_MS} without waiters it is absent.
 *   When it is lost, it is opened again, and all waiters are woken, because announcements were missed.
 */
export class PostgresWakeUp implements WakeUp {
  private readonly listeners = new Map<string, Set<() => void>>();
  private connection: Promise<PgListener> | undefined;
  private idle: NodeJS.Timeout | undefined;
  private closed = false;
  private unheardUntil = 0;
  private warned = false;

  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector<PgConnection>,
  ) {
    // A server that was demoted keeps the connection, but gets no announcement of the new primary.
    connector.onStale?.(() => void this.connection?.then(close).catch(() => undefined));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    clearTimeout(this.idle);
    let ofRecord = this.listeners.get(recordId);
    if (!ofRecord) this.listeners.set(recordId, (ofRecord = new Set()));
    ofRecord.add(onWake);
    try {
      await (this.connection ?? outsideRequests(() => this.open()));
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
      // Waiting requests also poll.
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
    await connection?.then(close).catch(() => undefined);
  }

  private unsubscribe(recordId: string, onWake: () => void): void {
    const ofRecord = this.listeners.get(recordId);
    ofRecord?.delete(onWake);
    if (ofRecord?.size === 0) this.listeners.delete(recordId);
    if (this.listeners.size > 0) return;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => void this.disconnect(), IDLE_TIMEOUT_MS).unref();
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

  private async listen(onLost: () => void): Promise<PgListener> {
    if (performance.now() < this.unheardUntil) throw new Error(NOT_HEARD);
    const { Client, options } = postgresPoolOf<PgPool>(this.dataSource);
    const client = new Client(keptAlive(options));
    let listens = false;
    const lost = () => listens && onLost();
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', ({ payload }) => {
      for (const wake of this.listeners.get(payload ?? '') ?? []) wake();
    });
    try {
      await withDeadline(listenOn(client), OPEN_WITHIN_MS).catch((error: Error) => {
        throw error.cause;
      });
      await this.probe();
    } catch (error) {
      void close(client);
      throw error;
    }
    listens = true;
    // Requests that wait keep the process alive by their timers. After them, a script or a function would end 30 seconds later.
    client.unref?.();
    return client;
  }

  /** @throws Error when an announcement of another connection cannot be sent, or is not heard */
  private async probe(): Promise<void> {
    const probe = randomUUID();
    const heard = new Promise<void>((resolve) => this.listeners.set(probe, new Set([resolve])));
    try {
      await withDeadline(this.send(probe), SEND_WITHIN_MS).catch((cause: unknown) => {
        throw new Error('announcements could not be sent', { cause });
      });
      await withDeadline(heard, HEAR_WITHIN_MS).catch(() => {
        this.pauseListening();
        throw new Error(NOT_HEARD);
      });
    } finally {
      this.listeners.delete(probe);
    }
  }

  private pauseListening(): void {
    this.unheardUntil = performance.now() + UNHEARD_FOR_MS;
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

  /** Wakes all waiters: announcements were missed while there was no connection. */
  private relisten(): void {
    if (this.closed || this.connection || this.listeners.size === 0) return;
    this.open().then(
      () => this.listeners.forEach((ofRecord) => ofRecord.forEach((wake) => wake())),
      () => void setTimeout(() => this.relisten(), RECONNECT_AFTER_MS).unref(),
    );
  }
}

async function listenOn(client: PgListener): Promise<void> {
  await client.connect();
  // After a failover, the address may still lead to the demoted primary, which gets no announcement of the new one.
  const { rows } = await client.query("SELECT current_setting('transaction_read_only') AS readonly");
  if (rows[0].readonly === 'on') throw new Error('the server takes no writes');
  await client.query(`LISTEN ${CHANNEL}`);
}

/** Closes a connection, also one that a gateway has forgotten: a shutdown must not wait for an answer that never comes. */
async function close(client: PgListener): Promise<void> {
  await withDeadline(client.end(), CLOSE_WITHIN_MS).catch(() => undefined);
  cutConnection(client);
}
