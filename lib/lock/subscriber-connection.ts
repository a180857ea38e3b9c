import type { RedisLike, RedisSubscriberLike } from './redis-client.js';

/** A channel that somebody listens to. */
interface Channel {
  /** Resolves when the server has confirmed the subscription for the first time. */
  readonly confirmed: Promise<void>;
  readonly confirm: () => void;
  /** Confirmed before, so that a renewal of it follows a gap. */
  wasConfirmed: boolean;
}

/**
 * One connection of our own to one Redis node, for subscribing. It subscribes again by itself when the connection was
 * lost, whatever options the user's client was made with, and then reports the gap.
 */
export class SubscriberConnection {
  readonly #source: RedisLike;
  readonly #onMessage: (channel: string, message: string) => void;
  readonly #onGap: (channel: string) => void;
  readonly #channels = new Map<string, Channel>();
  #connection: RedisSubscriberLike;

  /**
   * @param source the user's client, which is duplicated and otherwise left alone
   * @param onGap told each channel on which messages may have been missed
   */
  constructor(
    source: RedisLike,
    onMessage: (channel: string, message: string) => void,
    onGap: (channel: string) => void,
  ) {
    this.#source = source;
    this.#onMessage = onMessage;
    this.#onGap = onGap;
    this.#connection = this.#connect();
  }

  /** Resolves once messages on the channel are heard here, which may be never. Does not reject. */
  listen(name: string): Promise<void> {
    // A client made not to reconnect is replaced by a fresh one.
    if (this.#connection.status === 'end') this.#connection = this.#connect();
    const known = this.#channels.get(name);
    if (known) return known.confirmed;
    let confirm = (): void => undefined;
    const confirmed = new Promise<void>((resolve) => (confirm = resolve));
    const channel = { confirmed, confirm, wasConfirmed: false };
    this.#channels.set(name, channel);
    this.#subscribe(name, channel);
    return confirmed;
  }

  forget(name: string): void {
    this.#channels.delete(name);
    if (this.#connection.status === 'ready') this.#connection.unsubscribe(name).catch(ignore);
  }

  close(): void {
    this.#channels.clear();
    this.#connection.disconnect();
  }

  #connect(): RedisSubscriberLike {
    const connection = this.#source.isCluster
      ? this.#source.duplicate()
      : this.#source.duplicate({
          autoResubscribe: false, // done below; ioredis would leave its failure unhandled
          lazyConnect: false,
          connectionName: 'nestjs-idempotency:wake',
        });
    connection.on('error', ignore);
    connection.on('message', this.#onMessage);
    connection.on('ready', () => {
      for (const [name, channel] of this.#channels) this.#subscribe(name, channel);
    });
    return connection;
  }

  #subscribe(name: string, channel: Channel): void {
    const { status } = this.#connection;
    // In any other state 'ready' is still to come. 'wait' is a Cluster that connects on its first command.
    if (status !== 'ready' && status !== 'wait') return;
    this.#connection.subscribe(name).then(() => {
      if (channel.wasConfirmed) this.#onGap(name);
      channel.wasConfirmed = true;
      channel.confirm();
    }, ignore);
  }
}

function ignore(): void {}
