import { createHash } from 'node:crypto';

import { type GuardedClient, isReply, NodeFailure } from './guarded-client.js';
import type { RedisLike } from './redis-client.js';

type Operation = 'acquire' | 'extend' | 'release';

/** One operation of Redlock that waits to be sent, or for its answer. */
interface Request {
  readonly operation: Operation;
  readonly name: string;
  /** Redlock's random value, which says whose lock it is. */
  readonly value: string;
  readonly ttlMs: number;
  readonly resolve: (done: number) => void;
  readonly reject: (error: unknown) => void;
}

/** How long a release may wait for other requests to go with, in milliseconds. Nothing waits for a release. */
const RELEASE_WITHIN_MS = 10;

/**
 * Redlock's three scripts in one, for many locks: 1 for each that was done, 0 for each that is another's.
 *
 * It grants a lock that its owner holds already, where Redlock's script refuses. Otherwise an acquire whose answer was
 * lost with the connection, and which the client sends again, would find its own lock and take it for another's.
 */
const SCRIPT = `
  local done = {}
  for i, name in ipairs(KEYS) do
    local operation, value, ttl = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
    local owner = redis.pcall("get", name)
    done[i] = 0
    if owner == value or (not owner and operation == "acquire") then
      if operation == "release" then
        redis.call("del", name)
      else
        redis.call("set", name, value, "PX", ttl)
      end
      done[i] = 1
    end
  end
  return done
`;

/** {@link LockNode.evalsha} gets the hash of a name in place of the hash of a script. */
export const REDLOCK_SCRIPTS = {
  acquireScript: () => 'acquire',
  extendScript: () => 'extend',
  releaseScript: () => 'release',
};

const OPERATIONS = new Map(
  (['acquire', 'extend', 'release'] as const).map((operation) => [sha1(operation), operation]),
);
const SCRIPT_HASH = sha1(SCRIPT);

/**
 * One Redis node as Redlock sees it. Operations of one turn of the event loop go to the node in one command.
 *
 * It remembers which locks the node may hold. So a lock is extended and released only where it was acquired; a lost race
 * costs no second command, though Redlock releases after each failed attempt; and a lock that the node grants after its
 * request has given up is given back, instead of blocking others until it expires.
 */
export class LockNode {
  readonly #mayHold = new Set<string>();
  #waiting: Request[] = [];
  #turn: NodeJS.Immediate | undefined;
  #releaseTimer: NodeJS.Timeout | undefined;
  /** Set for a Cluster, and where a node turns out to be part of one: the locks of a batch are on several shards. */
  #oneByOne: boolean;

  constructor(
    private readonly guard: GuardedClient,
    isCluster: boolean,
  ) {
    this.#oneByOne = isCluster;
  }

  /** Returns why the node cannot be asked now, or undefined if it can. */
  refusal(): string | undefined {
    return this.guard.refusal();
  }

  /**
   * What Redlock calls. Resolves to 1 for done and to 0 for another's lock.
   *
   * @throws NodeFailure where the node gave no answer
   */
  evalsha(hash: string, _keys: number, [name, value, ttlMs]: [string, string, number]): Promise<number> {
    const operation = OPERATIONS.get(hash) as Operation;
    if (operation === 'release') this.release(name, value);
    else if (operation === 'acquire' || this.#mayHold.has(value)) return this.#request(operation, name, value, ttlMs);
    return Promise.resolve(0);
  }

  /** Gives a lock back in the background, on a node that is out as well: its client sends the release when it is back. */
  release(name: string, value: string): void {
    if (this.#mayHold.delete(value)) this.#sendRelease(name, value);
  }

  /**
   * Takes a lock that no request wants, for a millisecond: a node that answers a PING may still refuse writes.
   *
   * @throws NodeFailure that says why the node gave no answer
   */
  async probe(name: string): Promise<void> {
    await this.#request('acquire', name, 'probe', 1);
    this.release(name, 'probe');
  }

  /** Sends what waits. */
  flush(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#turn = undefined;
    if (this.#oneByOne) for (const request of batch) this.#send([request]);
    else if (batch.length > 0) this.#send(batch);
  }

  #request(operation: Operation, name: string, value: string, ttlMs: number): Promise<number> {
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(new NodeFailure(refusal));
    if (operation === 'acquire') this.#mayHold.add(value);
    this.#turn ??= setImmediate(() => this.flush());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, name, value, ttlMs, resolve, reject });
    });
  }

  #sendRelease(name: string, value: string): void {
    this.#waiting.push({ operation: 'release', name, value, ttlMs: 0, resolve: ignore, reject: ignore });
    this.#releaseTimer ??= setTimeout(() => {
      this.#releaseTimer = undefined;
      this.flush();
    }, RELEASE_WITHIN_MS).unref();
  }

  #send(batch: readonly Request[]): void {
    this.guard
      .ask((client) => this.#evaluate(client, batch))
      .catch((error: unknown) => {
        for (const { reject } of batch) reject(error);
      });
  }

  async #evaluate(client: RedisLike, batch: readonly Request[]): Promise<void> {
    const keysAndArguments = [
      ...batch.map(({ name }) => name),
      ...batch.flatMap(({ operation, value, ttlMs }) => [operation, value, ttlMs]),
    ];
    try {
      const done = await client.evalsha(SCRIPT_HASH, batch.length, ...keysAndArguments).catch((error: unknown) => {
        if (!isReply(error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(SCRIPT, batch.length, ...keysAndArguments);
      });
      // A client with `stringNumbers` answers '1'.
      batch.forEach((request, i) => this.#settle(request, Number((done as unknown[])[i])));
    } catch (error) {
      // After any other error the command may still have arrived.
      if (!isReply(error)) throw error;
      if (batch.length > 1 && error.message.startsWith('CROSSSLOT')) {
        this.#oneByOne = true;
        for (const request of batch) this.#send([request]);
        return;
      }
      for (const { operation, value } of batch) if (operation === 'acquire') this.#mayHold.delete(value);
      throw error;
    }
  }

  #settle({ operation, name, value, resolve }: Request, done: number): void {
    if (operation === 'acquire' && !done) this.#mayHold.delete(value);
    else if (operation === 'acquire' && !this.#mayHold.has(value)) this.#sendRelease(name, value);
    resolve(done);
  }
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function ignore(): void {}
