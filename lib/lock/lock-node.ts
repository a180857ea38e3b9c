import { createHash } from 'node:crypto';

import { ShortLivedSet } from '../engine/short-lived.js';
import { type GuardedClient, isReply, NodeFailure } from './guarded-client.js';
import type { RedisLike } from './redis-client.js';

type Operation = 'acquire' | 'extend' | 'release';

/** What Redlock asks of this node for one lock. */
interface Request {
  readonly operation: Operation;
  readonly name: string;
  /** Redlock's random value, which says whose lock it is. */
  readonly value: string;
  readonly ttlMs: number;
  readonly resolve: (done: number) => void;
  readonly reject: (error: unknown) => void;
}

/** How long a release may wait for other requests to go with. Nothing waits for a release. */
const RELEASE_WITHIN_MS = 10;

/**
 * Redlock's three scripts in one, for many locks: 1 for each that was done, 0 for each that is another's.
 *
 * An acquire succeeds where its owner holds the lock already, which Redlock's script refuses. A client sends a command
 * again when the connection was lost before the answer; it would then take its own lock for another's.
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
const SCRIPT_HASH = sha1(SCRIPT);

/** What Redlock takes for its scripts are only the operations' names: {@link LockNode.evalsha} gets their hashes. */
export const REDLOCK_SCRIPTS = {
  acquireScript: () => 'acquire',
  extendScript: () => 'extend',
  releaseScript: () => 'release',
} satisfies Record<string, () => Operation>;

const OPERATIONS = new Map(Object.values(REDLOCK_SCRIPTS).map((name) => [sha1(name()), name() as Operation]));

/**
 * One Redis node as Redlock sees it. What is asked in one turn of the event loop goes to the node in one command.
 *
 * It remembers which locks the node may hold, so that
 * - a lock is extended and released only where it was acquired, and a lost race costs no second command;
 * - a lock that the node grants after its request has given up is given back, and does not block others until it expires.
 */
export class LockNode {
  readonly #mayHold = new ShortLivedSet<string>();
  #waiting: Request[] = [];
  #sendsSoon = false;
  #releasesSoon = false;

  /** @param oneByOne whether each lock is a command of its own: the shards of a Cluster refuse a command for several */
  constructor(
    private readonly guard: GuardedClient,
    private oneByOne: boolean,
  ) {}

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
    if (operation === 'release') {
      this.release(name, value);
      return Promise.resolve(1);
    }
    if (operation === 'extend' && !this.#mayHold.has(value)) return Promise.resolve(0);
    return this.#request(operation, name, value, ttlMs);
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
    const requests = this.#waiting;
    this.#waiting = [];
    if (this.oneByOne) for (const request of requests) this.#send([request]);
    else if (requests.length > 0) this.#send(requests);
  }

  #request(operation: Operation, name: string, value: string, ttlMs: number): Promise<number> {
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(new NodeFailure(refusal));
    if (operation === 'acquire') this.#mayHold.add(value);
    if (!this.#sendsSoon) {
      this.#sendsSoon = true;
      setImmediate(() => {
        this.#sendsSoon = false;
        this.flush();
      });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, name, value, ttlMs, resolve, reject });
    });
  }

  #sendRelease(name: string, value: string): void {
    this.#waiting.push({ operation: 'release', name, value, ttlMs: 0, resolve: ignore, reject: ignore });
    if (this.#releasesSoon) return;
    this.#releasesSoon = true;
    setTimeout(() => {
      this.#releasesSoon = false;
      this.flush();
    }, RELEASE_WITHIN_MS).unref();
  }

  #send(requests: readonly Request[]): void {
    this.guard
      .ask((client) => this.#evaluate(client, requests))
      .catch((error: unknown) => {
        for (const { reject } of requests) reject(error);
      });
  }

  async #evaluate(client: RedisLike, requests: readonly Request[]): Promise<void> {
    const keysAndArguments = [
      ...requests.map(({ name }) => name),
      ...requests.flatMap(({ operation, value, ttlMs }) => [operation, value, ttlMs]),
    ];
    try {
      const done = await client.evalsha(SCRIPT_HASH, requests.length, ...keysAndArguments).catch((error: unknown) => {
        if (!isReply(error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(SCRIPT, requests.length, ...keysAndArguments);
      });
      // A client with `stringNumbers` answers '1'.
      requests.forEach((request, i) => this.#settle(request, Number((done as unknown[])[i])));
    } catch (error) {
      if (!isReply(error)) throw error; // the command may still have arrived
      if (requests.length > 1 && error.message.startsWith('CROSSSLOT')) {
        // The client is none of a Cluster, but its server is part of one.
        this.oneByOne = true;
        for (const request of requests) this.#send([request]);
        return;
      }
      for (const { operation, value } of requests) if (operation === 'acquire') this.#mayHold.delete(value);
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
