import { randomUUID } from 'node:crypto';

import { outsideRequests } from '../engine/outside-requests.js';
import type { WakeUp, WakeUpSubscription } from '../engine/ports/wake-up.js';
import { GuardedClient } from './guarded-client.js';
import type { RedisLike, RedisSubscriberLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from '../engine/settle-within.js';

/** The prefix of the channels' names. The record's id follows. */
const PREFIX = 'nestjs-idempotency:wake:';

/** The pause before a silent node is probed: waiting requests poll meanwhile. */
const RETRY_AFTER_MS = 1_000;

/** Durations in milliseconds. */
export interface RedisWakeUpSettings {
  /** How long a subscription or an announcement may take. Default 250 ms. Without one, waiting requests poll. */
  readonly timeout?: number;
  /** How long the subscribing connections stay open without waiting requests. Default 30 000 ms. */
  readonly idleTimeout?: number;
}

/** The waiting requests of this process for one record. */
interface ChannelState {
  readonly waiters: Set<{ readonly onWake: () => void }>;
  /** Resolves when one node has confirmed the subscription. One is enough, because announcements are sent to all nodes. */
  readonly heard: Promise<void>;
  readonly confirm: () => void;
  /** The id of the last announcement, which every node delivers: the waiters wake once. */
  lastHeard?: string;
}

/**
 * Wake-ups over Redis publish/subscribe, on all nodes at once.
 *
 * Each record has its own channel: a shared one would deliver each completion to each process with waiting requests. To
 * subscribe takes one more connection for each node. They are opened for the first waiting request, and closed when there
 * is none for a while. Announcements use the application's clients, which are never closed here.
 */
export class RedisWakeUp implements WakeUp {
  readonly #clients: readonly RedisLike[];
  readonly #publishers: readonly GuardedClient[];
  readonly #timeout: number;
  readonly #idleTimeout: number;
  readonly #channels = new Map<string, ChannelState>();
  #subscribers: RedisSubscriberLike[] = [];
  #idleTimer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(clients: readonly RedisLike[], { timeout = 250, idleTimeout = 30_000 }: RedisWakeUpSettings = {}) {
    this.#timeout = timeout;
    this.#idleTimeout = idleTimeout;
    this.#clients = clients;
    this.#publishers = clients.map((client) => new GuardedClient(client, timeout, RETRY_AFTER_MS));
  }

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    if (this.#closed) throw new Error('closed');
    clearTimeout(this.#idleTimer);
    outsideRequests(() => this.#connect());
    const channel = PREFIX + recordId;
    const state = this.#channels.get(channel) ?? this.#open(channel);
    const waiter = { onWake };
    state.waiters.add(waiter);
    const close = () => {
      if (state.waiters.delete(waiter) && state.waiters.size === 0) this.#leave(channel);
    };
    if ((await settleWithin(state.heard, this.#timeout)) !== TIME_IS_UP) return { close };
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
    this.#channels.clear();
    this.#disconnect();
    return Promise.resolve();
  }

  #open(channel: string): ChannelState {
    let confirm = ignore;
    const heard = new Promise<void>((resolve) => (confirm = resolve));
    const state: ChannelState = { waiters: new Set(), heard, confirm };
    this.#channels.set(channel, state);
    for (const subscriber of this.#subscribers) void listen(subscriber, channel, state);
    return state;
  }

  #leave(channel: string): void {
    this.#channels.delete(channel);
    for (const subscriber of this.#subscribers)
      if (subscriber.status === 'ready') subscriber.unsubscribe(channel).catch(ignore);
    if (this.#channels.size === 0) this.#idleTimer = setTimeout(() => this.#disconnect(), this.#idleTimeout).unref();
  }

  /** Opens the connections, and replaces those that have ended and do not reconnect. */
  #connect(): void {
    this.#subscribers = this.#clients.map((client, node) => {
      const known = this.#subscribers[node];
      return known && known.status !== 'end' ? known : this.#subscriber(client, known !== undefined);
    });
  }

  /** @param again whether an earlier connection was lost, and so announcements may be */
  #subscriber(client: RedisLike, again: boolean): RedisSubscriberLike {
    // `ready` below subscribes again: ioredis would leave the failure of its own attempt unhandled.
    const options = { autoResubscribe: false, lazyConnect: false, connectionName: 'nestjs-idempotency:wake' };
    const subscriber = client.isCluster ? client.duplicate() : client.duplicate(options);
    subscriber.on('error', ignore);
    subscriber.on('message', (channel, announcement) => {
      const state = this.#channels.get(channel);
      if (!state || state.lastHeard === announcement) return;
      state.lastHeard = announcement;
      wake(state);
    });
    subscriber.on('ready', () => {
      const isAgain = again;
      again = true;
      for (const [channel, state] of this.#channels)
        void listen(subscriber, channel, state).then((heard) => heard && isAgain && wake(state));
    });
    return subscriber;
  }

  #disconnect(): void {
    clearTimeout(this.#idleTimer);
    for (const subscriber of this.#subscribers) subscriber.disconnect();
    this.#subscribers = [];
  }
}

async function listen(subscriber: RedisSubscriberLike, channel: string, state: ChannelState): Promise<boolean> {
  // In other states, the listener of 'ready' subscribes later. 'wait' is a Cluster that connects at its first command.
  if (subscriber.status !== 'ready' && subscriber.status !== 'wait') return false;
  try {
    await subscriber.subscribe(channel);
    state.confirm();
    return true;
  } catch {
    return false;
  }
}

function wake(state: ChannelState): void {
  for (const { onWake } of state.waiters) {
    try {
      onWake();
    } catch {
      // An error of one waiter must not keep the others asleep.
    }
  }
}

function ignore(): void {}
