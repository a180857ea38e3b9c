import type { RedisLike } from './redis-client.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';

/** Why a node gave no answer, in words that hold no addresses, names or credentials. */
export class NodeFailure extends Error {
  override readonly name = 'NodeFailure';
}

/** States in which a command could only wait in the client's offline queue, to be run long after anybody cares. */
const OFFLINE = new Set(['reconnecting', 'disconnecting', 'close', 'end']);

const LONGEST_BACK_OFF = 16;

/**
 * One Redis node behind a time limit and a circuit breaker, whatever options its client was made with.
 *
 * A default ioredis client has no command timeout and queues commands while it is offline. So a node that stops answering
 * would cost each request the full limit and pile up commands without bound; instead it is left alone until it has
 * answered something: the very command that it owed, or a PING sent now and then, one at a time, that no request waits for.
 */
export class GuardedClient<Client extends Pick<RedisLike, 'status' | 'ping'> = RedisLike> {
  readonly #client: Client;
  readonly #timeoutMs: number;
  readonly #retryAfterMs: number;
  #silent = false;
  #backOffMs = 0;
  #probeAt = 0;

  /**
   * @param timeoutMs how long a command may take, in milliseconds
   * @param retryAfterMs how long a silent node is left alone before the first PING, in milliseconds
   */
  constructor(client: Client, timeoutMs: number, retryAfterMs: number) {
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#retryAfterMs = retryAfterMs;
  }

  /** Why the node can't be asked now, or undefined if it can. Sends the PING to a silent node when one is due. */
  refusal(): string | undefined {
    if (OFFLINE.has(this.#client.status)) {
      this.#probeAt = 0; // a new connection is tried as soon as there is one
      return 'not connected';
    }
    if (!this.#silent) return undefined;
    if (performance.now() >= this.#probeAt) this.#probe();
    return 'no answer';
  }

  /**
   * Sends a command if the node can be asked. Settles within the time limit.
   *
   * @throws NodeFailure
   */
  async run<T>(command: (client: Client) => Promise<T>): Promise<T> {
    const refusal = this.refusal();
    if (refusal !== undefined) throw new NodeFailure(refusal);
    return await this.#ask(command);
  }

  /**
   * The same, but the command is also sent, and not waited for, where the node can't be asked: for what has to be undone
   * there as soon as it is back.
   *
   * @throws NodeFailure
   */
  async undo<T>(command: (client: Client) => Promise<T>): Promise<T> {
    const refusal = this.refusal();
    if (refusal === undefined) return await this.#ask(command);
    void this.#send(command);
    throw new NodeFailure(refusal);
  }

  async #ask<T>(command: (client: Client) => Promise<T>): Promise<T> {
    let answer: T | typeof TIME_IS_UP;
    try {
      answer = await settleWithin(this.#send(command), this.#timeoutMs);
    } catch (error) {
      throw this.#judge(error);
    }
    if (answer !== TIME_IS_UP) return answer;
    this.#fallSilent();
    throw new NodeFailure('no answer');
  }

  /** Whenever it comes, an answer shows that the node is alive. */
  #send<T>(command: (client: Client) => Promise<T>): Promise<T> {
    const sent = command(this.#client);
    sent.then(
      () => (this.#silent = false),
      (error: unknown) => {
        if (isReply(error)) this.#silent = false;
      },
    );
    return sent;
  }

  #judge(error: unknown): Error {
    if (isReply(error)) {
      // Only the code, such as READONLY or NOPERM: the rest of a reply may name keys and users.
      const code = /^[A-Z]+/.exec(error.message)?.[0] ?? 'error';
      return new NodeFailure(`refused: ${code}`);
    }
    // A command that failed on a live connection ran into the client's own command timeout.
    if (this.#client.status === 'ready') {
      this.#fallSilent();
      return new NodeFailure('no answer');
    }
    return new NodeFailure('not connected');
  }

  #fallSilent(): void {
    if (this.#silent) return;
    this.#silent = true;
    this.#backOffMs = this.#retryAfterMs;
    this.#probeAt = performance.now() + this.#backOffMs;
  }

  #probe(): void {
    this.#backOffMs = Math.min(this.#backOffMs * 2, this.#retryAfterMs * LONGEST_BACK_OFF);
    this.#probeAt = performance.now() + this.#backOffMs;
    void this.#send((client) => client.ping());
  }
}

/**
 * Whether the server itself said no, which a silent one can't. ioredis 5 names a reply after its class, which a minifier
 * renames; but a reply alone is about a command and begins with a code, as in `NOSCRIPT No matching script`.
 */
export function isReply(error: unknown): error is Error {
  const { name, message, command } = (error ?? {}) as Partial<Error> & { readonly command?: unknown };
  return name === 'ReplyError' || (command !== undefined && /^[A-Z]+ /.test(message ?? ''));
}
