import type { RedisLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';

/** Why a node gave no answer. The message names no addresses, keys or credentials. */
export class NodeFailure extends Error {
  override readonly name = 'NodeFailure';
}

/** States in which a command only waits in the client's offline queue, to run long after its request has ended. */
const OFFLINE = new Set(['reconnecting', 'disconnecting', 'close', 'end']);

/**
 * One Redis node behind a time limit and a circuit breaker.
 *
 * A default ioredis client has no command timeout and queues commands while it is offline. A node that stops answering
 * would cost each request the full limit and pile up commands without bound. So a silent node gets no commands until it
 * has answered one: the command that it owes, or a PING that no request waits for.
 */
export class GuardedClient {
  /** When a silent node gets its PING: Infinity while one is under way, undefined while the node answers. */
  #probeAt: number | undefined;
  /** Whether the connection was lost. A client that is connecting for the first time is worth waiting for, but not then. */
  #isLost = false;

  /**
   * @param timeoutMs how long a command may take, in milliseconds
   * @param retryAfterMs the pause before a silent node gets a PING, in milliseconds
   */
  constructor(
    private readonly client: RedisLike,
    private readonly timeoutMs: number,
    private readonly retryAfterMs: number,
  ) {}

  /** Returns why the node cannot be asked now, or undefined if it can. Sends a silent node its PING when one is due. */
  refusal(): string | undefined {
    const { status } = this.client;
    this.#isLost = status !== 'ready' && (this.#isLost || OFFLINE.has(status));
    if (this.#isLost) return 'not connected';
    if (this.#probeAt === undefined) return undefined;
    if (performance.now() >= this.#probeAt) this.#probe();
    return 'no answer';
  }

  /**
   * Sends a command, whatever {@link refusal} says. Settles within the time limit.
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

  /** An answer shows that the node is alive, however late it comes. */
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
    // Only the code, such as READONLY or NOPERM: the rest of a reply may name keys and users.
    if (isReply(error)) return new NodeFailure(`refused: ${/^[A-Z]+/.exec(error.message)?.[0] ?? 'error'}`);
    // On a live connection, the command ran into the client's own command timeout.
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
 * Returns whether the server itself refused, which a silent one cannot. ioredis 5 names a reply after its class, which a
 * minifier renames; but only a reply is about a command and begins with a code, as in `NOSCRIPT No matching script`.
 */
export function isReply(error: unknown): error is Error {
  const { name, message, command } = (error ?? {}) as Partial<Error> & { readonly command?: unknown };
  return name === 'ReplyError' || (command !== undefined && /^[A-Z]+ /.test(message ?? ''));
}
