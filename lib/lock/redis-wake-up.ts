import { randomUUID } from 'node:crypto';

import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { GuardedClient } from './guarded-client.js';
import { assertRedisNodes, type RedisLike, type RedisSubscriberLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';

/** How wake-ups travel over Redis. Durations are milliseconds. */
export interface RedisWakeUpSettings {
  /** What channel names begin with; `wake:` and the record's id follow. Default `'nestjs-idempotency:'`. */
  readonly prefix?: string;
  /** How long subscribing and announcing may take. Default 250 ms: a waiter has other means, and time. */
  readonly timeout?: number;
  /** The pause before a silent node is asked again, as in `RedlockSettings`. Default 1000 ms. */
  readonly retryAfter?: number;
  /** How long the subscribing connections stay open without a waiter. Default 30 000 ms. */
  readonly idleTimeout?: number;
}

/** The waiters of this process for one record. */
interface Room {
  readonly waiters: Set<{ readonly onWake: () => void }>;
  /** The nodes, by index, that have confirmed the subscription. */
  readonly heardOn: Set<number>;
  /** Resolves when a majority has: it shares a node with any majority that an announcement reaches. */
  readonly heardOnMost: Promise<void>;
  readonly confirm: (node: number) => void;
  /** Each announcement comes once for every node, and is one wake-up. */
  lastHeard?: string;
}

/**
 * Wake-ups over Redis publish/subscribe, on all nodes at once.
 *
 * Each record has a channel of its own: a channel that all records share would send each completion to each process
 * that has waiters. Waiters for one record in one process share its SUBSCRIBE and UNSUBSCRIBE.
 *
 * Subscribing needs connections of its own, one for each node: made for the first waiter, closed after a while without
 * one. A lost connection subscribes again, whatever options the user's client was made with, and then wakes its waiters,
 * as an announcement may have been missed. Announcing uses the user's clients, which are never closed here.
 */
export class RedisWakeUp implements WakeUp {
  readonly #clients: readonly RedisLike[];
  readonly #publishers: readonly GuardedClient[];
  readonly #settings: Required<RedisWakeUpSettings>;
  readonly #rooms = new Map<string, Room>();
  #subscribers: RedisSubscriberLike[] = [];
  #idleTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(clients: readonly RedisLike[], settings?: RedisWakeUpSettings) {
    this.#settings = {
      prefix: 'nestjs-idempotency:',
      timeout: 250,
      retryAfter: 1000,
      idleTimeout: 30_000,
      ...settings,
    };
    const { timeout, retryAfter } = this.#settings;
    this.#clients = assertRedisNodes(clients);
    this.#publishers = this.#clients.map((client) => new GuardedClient(client, timeout, retryAfter));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    if (this.#closed) throw new Error('closed');
    clearTimeout(this.#idleTimer);
    this.#connect();
    const channel = this.#channel(recordId);
    const room = this.#rooms.get(channel) ?? this.#open(channel);
    const waiter = { onWake };
    room.waiters.add(waiter);
    const leave = () => {
      if (room.waiters.delete(waiter) && room.waiters.size === 0) this.#leave(channel);
    };
    const outcome = await settleWithin(room.heardOnMost, this.#settings.timeout);
    if (outcome === TIME_IS_UP && room.heardOn.size === 0) {
      leave();
      throw new Error('no Redis node confirmed the subscription in time');
    }
    return { close: leave };
  }

  async announce(recordId: string): Promise<void> {
    if (this.#closed) return;
    const channel = this.#channel(recordId);
    const announcement = randomUUID();
    const publishers = this.#publishers.filter((publisher) => publisher.refusal() === undefined);
    await Promise.allSettled(
      publishers.map((publisher) => publisher.ask((node) => node.publish(channel, announcement))),
    );
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#rooms.clear();
    this.#disconnect();
    return Promise.resolve();
  }

  #channel(recordId: string): string {
    return `${this.#settings.prefix}wake:${recordId}`;
  }

  #open(channel: string): Room {
    const heardOn = new Set<number>();
    let confirm: Room['confirm'] = ignore;
    const heardOnMost = new Promise<void>((resolve) => {
      confirm = (node) => {
        heardOn.add(node);
        if (heardOn.size * 2 > this.#clients.length) resolve();
      };
    });
    const room: Room = { waiters: new Set(), heardOn, heardOnMost, confirm };
    this.#rooms.set(channel, room);
    for (const [node, subscriber] of this.#subscribers.entries()) this.#listen(subscriber, node, channel, room);
    return room;
  }

  #leave(channel: string): void {
    this.#rooms.delete(channel);
    for (const subscriber of this.#subscribers)
      if (subscriber.status === 'ready') subscriber.unsubscribe(channel).catch(ignore);
    if (this.#rooms.size > 0) return;
    this.#idleTimer = setTimeout(() => this.#disconnect(), this.#settings.idleTimeout).unref();
  }

  /** Makes the connections, and replaces those of clients that do not reconnect by themselves. */
  #connect(): void {
    this.#subscribers = this.#clients.map((client, node) => {
      const subscriber = this.#subscribers[node];
      return subscriber && subscriber.status !== 'end' ? subscriber : this.#subscriber(client, node);
    });
  }

  #subscriber(client: RedisLike, node: number): RedisSubscriberLike {
    const subscriber = client.isCluster
      ? client.duplicate()
      : client.duplicate({
          autoResubscribe: false, // done below; ioredis would leave its failure unhandled
          lazyConnect: false,
          connectionName: 'nestjs-idempotency:wake',
        });
    subscriber.on('error', ignore);
    subscriber.on('message', (channel, announcement) => {
      const room = this.#rooms.get(channel);
      if (!room || room.lastHeard === announcement) return;
      room.lastHeard = announcement;
      wake(room);
    });
    subscriber.on('ready', () => {
      for (const [channel, room] of this.#rooms) this.#listen(subscriber, node, channel, room);
    });
    return subscriber;
  }

  #listen(subscriber: RedisSubscriberLike, node: number, channel: string, room: Room): void {
    const { status } = subscriber;
    // In any other state 'ready' is still to come. 'wait' is a Cluster that connects on its first command.
    if (status !== 'ready' && status !== 'wait') return;
    subscriber.subscribe(channel).then(() => {
      if (room.heardOn.has(node)) wake(room);
      room.confirm(node);
    }, ignore);
  }

  #disconnect(): void {
    clearTimeout(this.#idleTimer);
    for (const subscriber of this.#subscribers) subscriber.disconnect();
    this.#subscribers = [];
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
