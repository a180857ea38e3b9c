import { randomUUID } from 'node:crypto';

import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { GuardedClient } from './guarded-client.js';
import { assertRedisNodes, type RedisLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';
import { SubscriberConnection } from './subscriber-connection.js';

/** How wake-ups travel over Redis. Durations are milliseconds. */
export interface RedisWakeUpSettings {
  /** What channel names begin with; `wake:` and the record's id follow. Default `'nestjs-idempotency:'`. */
  readonly prefix?: string;
  /** How long subscribing and announcing may take. Default 250 ms: whoever waits has other means, and time. */
  readonly timeout?: number;
  /** How long a node that did not answer is left alone, as in `RedlockSettings`. Default 1000 ms. */
  readonly retryAfter?: number;
  /** How long the subscribing connections stay open when nobody waits. Default 30 000 ms. */
  readonly idleTimeout?: number;
}

interface Waiter {
  readonly onWake: () => void;
}

interface Room {
  readonly waiters: Set<Waiter>;
  /** The last announcement heard. Each comes once for every node, and is one wake-up. */
  lastHeard: string | undefined;
}

/**
 * Wake-ups over Redis publish/subscribe, on all nodes at once.
 *
 * Each record has a channel of its own. Records are completed far more often than waited for, and a message on a channel
 * that nobody listens to ends in the server, at the cost of the PUBLISH; a channel shared by all records would send each
 * completion to each process that has had a waiter lately. The price, a SUBSCRIBE and an UNSUBSCRIBE, falls on those who
 * wait, and waiters for one record in one process share it.
 *
 * Subscribing needs connections of its own, one for each node: made for the first waiter, closed when nobody has waited
 * for a while. Announcing uses the user's clients, which are never closed here.
 */
export class RedisWakeUp implements WakeUp {
  readonly #clients: readonly RedisLike[];
  readonly #publishers: readonly GuardedClient[];
  readonly #settings: Required<RedisWakeUpSettings>;
  readonly #rooms = new Map<string, Room>();
  #subscribers: readonly SubscriberConnection[] = [];
  #idleTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(clients: readonly RedisLike[], settings?: RedisWakeUpSettings) {
    this.#settings = {
      prefix: settings?.prefix ?? 'nestjs-idempotency:',
      timeout: settings?.timeout ?? 250,
      retryAfter: settings?.retryAfter ?? 1000,
      idleTimeout: settings?.idleTimeout ?? 30_000,
    };
    const { timeout, retryAfter } = this.#settings;
    this.#clients = assertRedisNodes(clients);
    this.#publishers = this.#clients.map((client) => new GuardedClient(client, timeout, retryAfter));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    if (this.#closed) throw new Error('closed');
    const channel = this.#channel(recordId);
    const waiter: Waiter = { onWake };
    this.#enter(channel, waiter);
    try {
      await this.#heardOnMost(channel);
    } catch (error) {
      this.#leave(channel, waiter);
      throw error;
    }
    return { close: () => this.#leave(channel, waiter) };
  }

  async announce(recordId: string): Promise<void> {
    if (this.#closed) return;
    const channel = this.#channel(recordId);
    const announcement = randomUUID();
    await Promise.allSettled(
      this.#publishers.map((publisher) => publisher.run((client) => client.publish(channel, announcement))),
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

  #enter(channel: string, waiter: Waiter): void {
    clearTimeout(this.#idleTimer);
    const room = this.#rooms.get(channel);
    if (room) room.waiters.add(waiter);
    else
      this.#rooms.set(channel, {
        waiters: new Set([waiter]),
        lastHeard: undefined,
      });
  }

  #leave(channel: string, waiter: Waiter): void {
    const room = this.#rooms.get(channel);
    if (!room?.waiters.delete(waiter) || room.waiters.size > 0) return;
    this.#rooms.delete(channel);
    for (const subscriber of this.#subscribers) subscriber.forget(channel);
    if (this.#rooms.size > 0) return;
    this.#idleTimer = setTimeout(() => this.#disconnect(), this.#settings.idleTimeout).unref();
  }

  /**
   * Resolves when a majority of nodes have confirmed, which shares a node with any majority that an announcement reaches;
   * or at the time limit, if one has. Rejects if none has.
   */
  async #heardOnMost(channel: string): Promise<void> {
    if (this.#subscribers.length === 0) this.#connect();
    let confirmed = 0;
    const majority = new Promise<void>((resolve) => {
      for (const subscriber of this.#subscribers)
        void subscriber.listen(channel).then(() => {
          confirmed++;
          if (confirmed * 2 > this.#subscribers.length) resolve();
        });
    });
    const outcome = await settleWithin(majority, this.#settings.timeout);
    if (outcome === TIME_IS_UP && confirmed === 0) throw new Error('no Redis node confirmed the subscription in time');
  }

  #connect(): void {
    this.#subscribers = this.#clients.map(
      (client) =>
        new SubscriberConnection(
          client,
          (channel, message) => this.#wake(channel, message),
          (channel) => this.#wake(channel, undefined),
        ),
    );
  }

  #disconnect(): void {
    clearTimeout(this.#idleTimer);
    for (const subscriber of this.#subscribers) subscriber.close();
    this.#subscribers = [];
  }

  /** @param announcement undefined where announcements may have been missed */
  #wake(channel: string, announcement: string | undefined): void {
    const room = this.#rooms.get(channel);
    if (!room) return;
    if (announcement !== undefined && room.lastHeard === announcement) return;
    room.lastHeard = announcement;
    for (const { onWake } of room.waiters) {
      try {
        onWake();
      } catch {
        // One waiter's failure is not the next one's.
      }
    }
  }
}
