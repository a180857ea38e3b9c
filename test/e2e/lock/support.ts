import { randomUUID } from 'node:crypto';

import { Cluster as Cluster5, Redis as Redis5, type RedisOptions } from 'ioredis';
import { Cluster as Cluster6, Redis as Redis6 } from 'ioredis6';

import type { HeldLock, RecordLock } from '../../../lib/engine/ports/record-lock.js';
import { RedlockRecordLock } from '../../../lib/lock/redlock-record-lock.js';
import type { RedlockSettings } from '../../../lib/lock/redlock-settings.js';
import { stopwatch } from '../../support/stopwatch.js';
import { until } from '../../support/until.js';

export type Client = Redis5 | Redis6;
export type ClusterClient = Cluster5 | Cluster6;

export interface Version {
  readonly version: string;
  connect(port: number, options: RedisOptions): Client;
  cluster(port: number): ClusterClient;
}

/** Closing a client while its server is down leaves a timer of two seconds by default, for which jest would wait. */
const SHORT = { disconnectTimeout: 50 };

/** The versions of ioredis that the library accepts. Clients are made with ioredis's own defaults unless a test says. */
export const VERSIONS: readonly Version[] = [
  {
    version: 'ioredis 5',
    connect: (port, options) => new Redis5({ host: '127.0.0.1', port, ...SHORT, ...options }),
    cluster: (port) => new Cluster5([{ host: '127.0.0.1', port }], { redisOptions: SHORT }),
  },
  {
    version: 'ioredis 6',
    connect: (port, options) => new Redis6({ host: '127.0.0.1', port, ...SHORT, ...(options as object) }),
    cluster: (port) => new Cluster6([{ host: '127.0.0.1', port }], { redisOptions: SHORT }),
  },
];

/** Clients and locks of one test file, all closed at its end. */
export class LockFixture {
  readonly #clients: { disconnect(): void }[] = [];
  readonly #locks: RedlockRecordLock[] = [];

  /** @param settings those of every lock that is given none */
  constructor(private readonly settings?: RedlockSettings) {}

  async connect(version: Version, ports: readonly number[], options: RedisOptions = {}): Promise<Client[]> {
    const clients = ports.map((port) => this.open(version.connect(port, options)));
    if (!options.lazyConnect) await until(() => clients.every((client) => client.status === 'ready'));
    return clients;
  }

  open<C extends Client | ClusterClient>(client: C): C {
    (client as Redis5).on('error', () => undefined);
    this.#clients.push(client);
    return client;
  }

  lock(clients: readonly (Client | ClusterClient)[], settings = this.settings): RedlockRecordLock {
    const lock = new RedlockRecordLock(clients, settings);
    this.#locks.push(lock);
    return lock;
  }

  async close(): Promise<void> {
    await Promise.all(this.#locks.map((lock) => lock.close()));
    for (const client of this.#clients) client.disconnect();
  }
}

/** A record's id like any other: 128 bits, different each time. */
export const anId = (): string => randomUUID();

export const nameOf = (id: string): string => `nestjs-idempotency:lock:{${id}}`;

/** Takes a lock that a test builds on. Tries again where a busy machine has missed the time limit. */
export async function take(lock: RecordLock, id: string, ttlMs: number): Promise<HeldLock> {
  let taken: HeldLock | undefined;
  await until(async () => {
    const attempt = await lock.acquire(id, ttlMs);
    if (attempt.kind === 'acquired') taken = attempt.lock;
    return taken !== undefined;
  });
  return taken as HeldLock;
}

/** Takes a lock and renews it until its release, as an execution does whenever it renews its lease. */
export async function takeAndRenew(lock: RecordLock, id: string, ttlMs: number): Promise<HeldLock> {
  const held = await take(lock, id, ttlMs);
  const timer = setInterval(() => held.renew(), ttlMs / 3).unref();
  return {
    renew: () => held.renew(),
    release: () => {
      clearInterval(timer);
      held.release();
    },
  };
}

export async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const took = stopwatch();
  const result = await work();
  return { result, ms: took() };
}

export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}
