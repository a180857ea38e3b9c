import { createHash } from 'node:crypto';

import { ShortLivedMap } from '../engine/short-lived.js';
import { type GuardedClient, isReply, NodeFailure } from './guarded-client.js';
import type { RedisLike } from './redis-client.js';

type Operation = 'acquire' | 'extend' | 'release';

/** An operation of Redlock on this node, on locks of one owner. Several locks are acquired together or not at all. */
interface Request {
  readonly operation: Operation;
  readonly names: readonly string[];
  /** Redlock's random value, which identifies the owner of the lock. */
  readonly value: string;
  readonly ttlMs: number;
  readonly resolve: (done: number) => void;
  readonly reject: (error: unknown) => void;
}

/** How long a release may wait to join other requests in one command. No request waits for a release. */
const RELEASE_WITHIN_MS = 10;

/**
 * Redlock's three scripts in one, for many requests. Returns 1 for each request that succeeded, and 0 for each with a lock
 * that another owner holds. A release skips such locks.
 *
 * An acquire succeeds if its owner already holds the lock, which Redlock's script refuses. A client repeats a command when
 * the connection was lost before the answer, and would then take its own lock for another owner's.
 */
const SCRIPT = `
  local done, last = {}, 0
  for request = 1, #ARGV / 4 do
    local at = request * 4
    local operation, value, ttl = ARGV[at - 3], ARGV[at - 2], ARGV[at - 1]
    local first = last + 1
    last = last + ARGV[at]
    done[request] = 1
    for i = first, last do
      local owner = redis.pcall("get", KEYS[i])
      if operation == "release" then
        if owner == value then redis.call("del", KEYS[i]) end
      elseif owner ~= value and (owner or operation ~= "acquire") then
        done[request] = 0
      end
    end
    for i = first, operation ~= "release" and done[request] == 1 and last or 0 do
      redis.call("set", KEYS[i], value, "PX", ttl)
    end
  end
  return done
`;
const SCRIPT_HASH = sha1(SCRIPT);

/** The names of the operations, given to Redlock as its scripts: {@link LockNode.evalsha} receives their hashes. */
export const REDLOCK_SCRIPTS = {
  acquireScript: () => 'acquire',
  extendScript: () => 'extend',
  releaseScript: () => 'release',
} satisfies Record<string, () => Operation>;

const OPERATIONS = new Map(Object.values(REDLOCK_SCRIPTS).map((name) => [sha1(name()), name() as Operation]));

/**
 * One Redis node as Redlock sees it. Requests of one turn of the event loop are sent in one command.
 *
 * It remembers which locks the node may hold:
 * - A lock is extended and released only on nodes that granted it, so that a lost race costs no second command.
 * - Locks that the node grants after their request gave up are released at once, and do not block others until they expire.
 */
export class LockNode {
  /** How many locks by each owner's value, as the locks of one vote share it. */
  readonly #mayHold = new ShortLivedMap<string, number>();
  #waiting: Request[] = [];
  /** The names of locks to release, by their owner's value: the locks of one vote mostly end in one release. */
  readonly #releases = new Map<string, string[]>();
  #sendsSoon: NodeJS.Immediate | undefined;
  #releasesSoon = false;

  /** @param oneByOne whether each lock needs its own command: the shards of a Cluster refuse one for several */
  constructor(
    private readonly guard: GuardedClient,
    public oneByOne: boolean,
  ) {}

  /** As {@link GuardedClient.refusal}. */
  refusal(): string | undefined {
    return this.guard.refusal();
  }

  /**
   * Called by Redlock. Resolves to the number of locks, or to 0 if another owner holds one of them.
   *
   * @throws NodeFailure if the node gave no answer
   */
  evalsha(
    hash: string,
    count: number,
    args: readonly [...names: string[], value: string, ttlMs: number],
  ): Promise<number> {
    const operation = OPERATIONS.get(hash) as Operation;
    const names = args.slice(0, count) as string[];
    const value = args[count] as string;
    if (operation === 'release') {
      for (const name of names) this.release(name, value);
      return Promise.resolve(count);
    }
    if (operation === 'extend' && !this.#mayHold.has(value)) return Promise.resolve(0);
    return this.#request(operation, names, value, args[count + 1] as number);
  }

  /** Releases a lock in the background. Also on a node that is lost: its client sends the release when it is back. */
  release(name: string, value: string): void {
    const held = this.#mayHold.get(value);
    if (held === undefined) return;
    if (held > 1) this.#mayHold.set(value, held - 1);
    else this.#mayHold.delete(value);
    this.#sendRelease(name, value);
  }

  /**
   * Takes a lock that no request uses, for a millisecond: a node that answers a PING may still refuse writes.
   *
   * @throws NodeFailure with the reason why the node gave no answer
   */
  async probe(name: string): Promise<void> {
    await this.#request('acquire', [name], 'probe', 1);
    this.release(name, 'probe');
  }

  flush(): void {
    clearImmediate(this.#sendsSoon);
    this.#sendsSoon = undefined;
    // Releases come first, as a request may want a lock that is released.
    const requests = [...this.#takeReleases(), ...this.#waiting];
    this.#waiting = [];
    if (this.oneByOne) for (const request of requests) this.#send([request]);
    else if (requests.length > 0) this.#send(requests);
  }

  #request(operation: Operation, names: readonly string[], value: string, ttlMs: number): Promise<number> {
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(new NodeFailure(refusal));
    if (operation === 'acquire') this.#mayHold.set(value, names.length);
    this.#sendsSoon ??= setImmediate(() => this.flush());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, names, value, ttlMs, resolve, reject });
    });
  }

  *#takeReleases(): Generator<Request> {
    for (const [value, all] of this.#releases) {
      for (const names of this.oneByOne ? all.map((name) => [name]) : [all]) {
        yield { operation: 'release', names, value, ttlMs: 0, resolve: ignore, reject: ignore };
      }
    }
    this.#releases.clear();
  }

  #sendRelease(name: string, value: string): void {
    const names = this.#releases.get(value);
    if (names) names.push(name);
    else this.#releases.set(value, [name]);
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
    const names: string[] = [];
    const args: (string | number)[] = [];
    for (const request of requests) {
      names.push(...request.names);
      args.push(request.operation, request.value, request.ttlMs, request.names.length);
    }
    try {
      const done = await client.evalsha(SCRIPT_HASH, names.length, ...names, ...args).catch((error: unknown) => {
        if (!isReply(error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(SCRIPT, names.length, ...names, ...args);
      });
      // A client with the option `stringNumbers` returns '1'.
      requests.forEach((request, i) => this.#settle(request, Number((done as unknown[])[i])));
    } catch (error) {
      // Without a reply, the command may still have been executed: the locks count as held.
      if (!isReply(error)) throw error;
      if (!this.oneByOne && error.message.startsWith('CROSSSLOT')) {
        this.oneByOne = true;
        return requests.forEach((request) => this.#sendAlone(request));
      }
      for (const { operation, value } of requests) if (operation === 'acquire') this.#mayHold.delete(value);
      throw error;
    }
  }

  /** The server is part of a Cluster, though the client is not a Cluster's. Several locks at once count as refused. */
  #sendAlone(request: Request): void {
    const { operation, names, value } = request;
    if (operation === 'release') for (const name of names) this.#sendRelease(name, value);
    else if (names.length > 1) this.#settle(request, 0);
    else this.#send([request]);
  }

  #settle(request: Request, done: number): void {
    const { operation, names, value, resolve } = request;
    if (operation === 'acquire') {
      if (!done) this.#mayHold.delete(value);
      else if (!this.#mayHold.has(value)) for (const name of names) this.#sendRelease(name, value);
    }
    resolve(done * names.length);
  }
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function ignore(): void {}
