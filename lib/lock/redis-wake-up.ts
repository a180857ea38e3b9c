import { randomUUID } from 'node:crypto';

import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { GuardedClient } from './guarded-client.js';
import { assertRedisNodes, type RedisLike, type RedisSubscriberLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';

/** What the names of channels begin with; the record's id follows. */
const PREFIX = 'nestjs-idempotency:wake:';

/** The pause before a node that did not answer is asked again. */
const RETRY_AFTER_MS = 1_000;

/** How wake-ups travel over Redis. Durations are milliseconds. */
export interface RedisWakeUpSettings {
  /** How long subscribing and announcing may take. Default 250 ms: a waiter has other means, and time. */
  readonly timeout?: number;
  /** How long the subscribing connections stay open without a waiter. Default 30 000 ms. */
  readonly idleTimeout?: number;
}

/** The waiters of this process for one record. */
interface Room {
  readonly waiters: Set<{ readonly onWake: () => void }>;
  /** Resolves when a node has confirmed the subscription. Announcements go to all nodes. */
  readonly heard: Promise<void>;
  readonly confirm: () => void;
  /** Each announcement comes once for every node, and is one wake-up. */
  lastHeard?: string;
}

/**
 * Wake-ups over Redis publish/subscribe, on all nodes at once.
 *
 * Each record has a channel of its own: a channel that all records share would send each completion to each process
 * that has waiters. Subscribing needs connections of its own, one for each node: made for the first waiter, closed after
 * a while without one. Announcing uses the user's clients, which are never closed here.
 */
export class RedisWakeUp implements WakeUp {
  readonly #clients: readonly RedisLike[];
  readonly #publishers: readonly GuardedClient[];
  readonly #timeout: number;
  readonly #idleTimeout: number;
  readonly #rooms = new Map<string, Room>();
  #subscribers: RedisSubscriberLike[] = [];
  #idleTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(clients: readonly RedisLike[], { timeout = 250, idleTimeout = 30_000 }: RedisWakeUpSettings = {}) {
    this.#timeout = timeout;
    this.#idleTimeout = idleTimeout;
    this.#clients = assertRedisNodes(clients);
    this.#publishers = this.#clients.map((client) => new GuardedClient(client, timeout, RETRY_AFTER_MS));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    if (this.#closed) throw new Error('closed');
    clearTimeout(this.#idleTimer);
    this.#connect();
    const channel = PREFIX + recordId;
    const room = this.#rooms.get(channel) ?? this.#open(channel);
    const waiter = { onWake };
    room.waiters.add(waiter);
    const close = () => {
      if (room.waiters.delete(waiter) && room.waiters.size === 0) this.#leave(channel);
    };
    if ((await settleWithin(room.heard, this.#timeout)) !== TIME_IS_UP) return { close };
    close();
    throw new Error('no Redis node confirmed the subscription in time');
  }

  async announce(recordId: string): Promise<void> {
    if (this.#closed) return;
    const announcement = randomUUID();
    const publishers = this.#publishers.filter((publisher) => publisher.refusal() === undefined);
    const publish = (client: RedisLike) => client.publish(PREFIX + recordId, announcement);
    await Promise.allSettled(publishers.map((publisher) => publisher.ask(publish)));
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#rooms.clear();
    this.#disconnect();
    return Promise.resolve();
  }

  #open(channel: string): Room {
    let confirm = ignore;
    const heard = new Promise<void>((resolve) => (confirm = resolve));
    const room: Room = { waiters: new Set(), heard, confirm };
    this.#rooms.set(channel, room);
    for (const subscriber of this.#subscribers) void listen(subscriber, channel, room);
    return room;
  }

  #leave(channel: string): void {
    this.#rooms.delete(channel);
    for (const subscriber of this.#subscribers)
      if (subscriber.status === 'ready') subscriber.unsubscribe(channel).catch(ignore);
    if (this.#rooms.size === 0) this.#idleTimer = setTimeout(() => this.#disconnect(), this.#idleTimeout).unref();
  }

  /** Makes the connections, and replaces those of clients that do not reconnect by themselves. */
  #connect(): void {
    this.#subscribers = this.#clients.map((client, node) => {
      const known = this.#subscribers[node];
      return known && known.status !== 'end' ? known : this.#subscriber(client, known !== undefined);
    });
  }

  /** @param again whether an earlier connection was lost, and announcements with it */
  #subscriber(client: RedisLike, again: boolean): RedisSubscriberLike {
    // Subscribing again is done below: ioredis would leave its failure unhandled.
    const options = { autoResubscribe: false, lazyConnect: false, connectionName: 'nestjs-idempotency:wake' };
    const subscriber = client.isCluster ? client.duplicate() : client.duplicate(options);
    subscriber.on('error', ignore);
    subscriber.on('message', (channel, announcement) => {
      const room = this.#rooms.get(channel);
      if (!room || room.lastHeard === announcement) return;
      room.lastHeard = announcement;
      wake(room);
    });
    subscriber.on('ready', () => {
      const isAgain = again;
      again = true;
      for (const [channel, room] of this.#rooms)
        void listen(subscriber, channel, room).then((heard) => heard && isAgain && wake(room));
    });
    return subscriber;
  }

  #disconnect(): void {
    clearTimeout(this.#idleTimer);
    for (const subscriber of this.#subscribers) subscriber.disconnect();
    this.#subscribers = [];
  }
}

/** Resolves to whether the node has confirmed. */
async function listen(subscriber: RedisSubscriberLike, channel: string, room: Room): Promise<boolean> {
  // In any other state 'ready' is still to come. 'wait' is a Cluster that connects on its first command.
  if (subscriber.status !== 'ready' && subscriber.status !== 'wait') return false;
  try {
    await subscriber.subscribe(channel);
    room.confirm();
    return true;
  } catch {
    return false;
  }
}

function wake(room: Room): void {
  for (const { onWake } of room.waiters) {
    try {
      onWake();
    } catch {
      // The other waiters are woken all the same.
    }
  }
}

function ignore(): void {}
