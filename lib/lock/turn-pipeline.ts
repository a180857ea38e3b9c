import type { RedisLike } from './redis-client.js';

/** What a lock asks of a node. */
export type LockClient = Pick<RedisLike, 'status' | 'ping' | 'eval' | 'evalsha'>;

type Arguments = Parameters<RedisLike['evalsha']>;

interface Waiting {
  readonly args: Arguments;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Sends the first script of a turn of the event loop at once, so that nobody waits for company, and those that follow it
 * together at the end of the turn, in their order: a client writes each command to its socket by itself, which is most of
 * what a lock costs its process.
 */
export class TurnPipeline implements LockClient {
  #waiting: Waiting[] = [];
  #inTurn = false;

  private constructor(private readonly client: RedisLike & Required<Pick<RedisLike, 'pipeline'>>) {}

  /** The client itself, where it has no pipelines or is a Cluster, whose nodes take commands each for itself. */
  static over(client: RedisLike): LockClient {
    return client.pipeline && !client.isCluster ? new TurnPipeline(client as TurnPipeline['client']) : client;
  }

  get status(): string {
    return this.client.status;
  }

  ping(): Promise<unknown> {
    return this.client.ping();
  }

  eval(...args: Arguments): Promise<unknown> {
    return this.client.eval(...args);
  }

  evalsha(...args: Arguments): Promise<unknown> {
    if (this.#inTurn) return new Promise((resolve, reject) => this.#waiting.push({ args, resolve, reject }));
    this.#inTurn = true;
    setImmediate(() => this.#send());
    return this.client.evalsha(...args);
  }

  #send(): void {
    this.#inTurn = false;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    if (waiting.length === 1) {
      const [{ args, resolve, reject }] = waiting;
      this.client.evalsha(...args).then(resolve, reject);
      return;
    }
    const pipeline = this.client.pipeline();
    for (const { args } of waiting) pipeline.evalsha(...args);
    pipeline.exec().then(
      (replies) => waiting.forEach(({ resolve, reject }, i) => settle(replies?.[i], resolve, reject)),
      (error: unknown) => {
        for (const { reject } of waiting) reject(error);
      },
    );
  }
}

function settle(
  [error, reply]: readonly [error: Error | null, reply: unknown] = [new Error('no reply'), undefined],
  resolve: (reply: unknown) => void,
  reject: (error: unknown) => void,
): void {
  if (error) reject(error);
  else resolve(reply);
}
