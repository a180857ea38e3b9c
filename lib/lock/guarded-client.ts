import type { RedisLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from '../engine/settle-within.js';

/** The reason why a node gave no answer. The message contains no addresses, keys or credentials. */
export class NodeFailure extends Error {
  override readonly name = 'NodeFailure';
}

/** In these states, the client queues a command, and sends it long after its request has ended. */
const OFFLINE = new Set(['reconnecting', 'disconnecting', 'close', 'end']);

/**
 * One Redis node behind a time limit and a circuit breaker.
 *
 * A default ioredis client has no command timeout, and queues commands while it is offline. A node that stops answering would
 * cost each request the full limit, and its queue would grow without bound.
 *
 * The states of a node:
 * - answering: gets every command. A command without an answer in time makes it silent.
 * - silent: gets no commands. After `retryAfterMs` it is probed. A late answer makes it answering again.
 * - probed: one PING is in flight, which no request waits for. Any answer makes the node answering, an error silent.
 * - lost: the connection was lost. It is answering, or silent, once the client is `ready` again.
 */
export class GuardedClient {
  /** When a silent node is probed. Infinity: it is probed now. Undefined: the node answers. */
  #probeAt: number | undefined;
  /** Whether the connection was lost. A client that connects for the first time is waited for instead. */
  #isLost = false;

  /**
   * @param timeoutMs how long a command may take, in milliseconds
   * @param retryAfterMs the pause before a silent node is probed, in milliseconds
   */
  constructor(
    private readonly client: RedisLike,
    private readonly timeoutMs: number,
    private readonly retryAfterMs: number,
  ) {}

  /** Returns why the node gets no commands now, or undefined if it does. Probes a silent node when that is due. */
  refusal(): string | undefined {
    const { status } = this.client;
    this.#isLost = status !== 'ready' && (this.#isLost || OFFLINE.has(status));
    if (this.#isLost) return 'not connected';
    if (this.#probeAt === undefined) return undefined;
    if (performance.now() >= this.#probeAt) this.#probe();
    return 'no answer';
  }

  /**
   * Sends a command, without a check of {@link refusal}. Settles within the time limit.
   *
   * @throws NodeFailure
   */
  async ask<T>(command: (client: RedisLike) => Promise<T>): Promise<T> {
    let answer: T | typeof TIME_IS_UP;
    try {
      answer = await settleWithin(this.#send(command), this.timeoutMs);
    } catch (error) {
      throw this.#failure(error);
    }
    if (answer === TIME_IS_UP) throw this.#noAnswer();
    return answer;
  }

  /** Sends a command. Its answer shows that the node is alive, even if it comes late. */
  #send<T>(command: (client: RedisLike) => Promise<T>): Promise<T> {
    const sent = command(this.client);
    sent.then(
      () => (this.#probeAt = undefined),
      (error: unknown) => {
        if (isReply(error)) this.#probeAt = undefined;
      },
    );
    return sent;
  }

  #failure(error: unknown): NodeFailure {
    // Only the code, such as READONLY or NOPERM: the rest of a reply may contain names of keys and users.
    if (isReply(error)) return new NodeFailure(`refused: ${/^[A-Z]+/.exec(error.message)?.[0] ?? 'error'}`);
    // The connection is up: the client's own command timeout ended the command.
    if (this.client.status === 'ready') return this.#noAnswer();
    this.#isLost = true;
    return new NodeFailure('not connected');
  }

  #noAnswer(): NodeFailure {
    this.#probeAt ??= performance.now() + this.retryAfterMs;
    return new NodeFailure('no answer');
  }

  #probe(): void {
    this.#probeAt = Infinity;
    this.#send((client) => client.ping()).catch(() => {
      if (this.#probeAt === Infinity) this.#probeAt = performance.now() + this.retryAfterMs;
    });
  }
}

/**
 * Returns whether an error is a reply of the server. ioredis 5 gives it the name of its class, which a minifier may change. But
 * only a reply has a command and begins with a code, as in `NOSCRIPT No matching script`.
 */
export function isReply(error: unknown): error is Error {
  const { name, message, command } = (error ?? {}) as Partial<Error> & { readonly command?: unknown };
  return name === 'ReplyError' || (command !== undefined && /^[A-Z]+ /.test(message ?? ''));
}
