import { createHash } from 'node:crypto';

import { ShortLivedSet } from '../engine/short-lived.js';
import { type GuardedClient, isReply, NodeFailure } from './guarded-client.js';
import type { RedisLike } from './redis-client.js';

type Operation = 'acquire' | 'extend' | 'release';

/** What Redlock asks of this node: one lock, or several that are acquired together or not at all. */
interface Request {
  readonly operation: Operation;
  readonly names: readonly string[];
  /** Redlock's random value, which says whose lock it is. */
  readonly value: string;
  readonly ttlMs: number;
  readonly resolve: (done: number) => void;
  readonly reject: (error: unknown) => void;
}

/** How long a release may wait for other requests to go with. Nothing waits for a release. */
const RELEASE_WITHIN_MS = 10;

/**
 * Redlock's three scripts in one, for many requests: 1 for each that was done, 0 for each with a lock that another owns.
 *
 * An acquire succeeds where its owner holds the lock already, which Redlock's script refuses. A client sends a command
 * again when the connection was lost before the answer; it would then take its own lock for another's.
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
      if owner ~= value and (owner or operation ~= "acquire") then
        done[request] = 0
      end
    end
    for i = first, done[request] == 1 and last or 0 do
      if operation == "release" then
        redis.call("del", KEYS[i])
      else
        redis.call("set", KEYS[i], value, "PX", ttl)
      end
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
  #sendsSoon: NodeJS.Immediate | undefined;
  #releasesSoon = false;

  /** @param oneByOne whether each lock is a command of its own: the shards of a Cluster refuse a command for several */
  constructor(
    private readonly guard: GuardedClient,
    private oneByOne: boolean,
  ) {}

  /** Whether the node takes only commands for a single lock, as the shards of a Cluster do. */
  get takesOneByOne(): boolean {
    return this.oneByOne;
  }

  /** Returns why the node cannot be asked now, or undefined if it can. */
  refusal(): string | undefined {
    return this.guard.refusal();
  }

  /**
   * What Redlock calls. Resolves to the number of locks, or to 0 where another owns one of them.
   *
   * @throws NodeFailure where the node gave no answer
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
    if (operation === 'extend' && !this.#mayHold.has(lockOf(names[0] as string, value))) return Promise.resolve(0);
    return this.#request(operation, names, value, args[count + 1] as number);
  }

  /** Gives a lock back in the background, on a node that is out as well: its client sends the release when it is back. */
  release(name: string, value: string): void {
    if (this.#mayHold.delete(lockOf(name, value))) this.#sendRelease(name, value);
  }

  /**
   * Takes a lock that no request wants, for a millisecond: a node that answers a PING may still refuse writes.
   *
   * @throws NodeFailure that says why the node gave no answer
   */
  async probe(name: string): Promise<void> {
    await this.#request('acquire', [name], 'probe', 1);
    this.release(name, 'probe');
  }

  /** Sends what waits. */
  flush(): void {
    clearImmediate(this.#sendsSoon);
    this.#sendsSoon = undefined;
    const requests = this.#waiting;
    this.#waiting = [];
    if (this.oneByOne) for (const request of requests) this.#send([request]);
    else if (requests.length > 0) this.#send(requests);
  }

  #request(operation: Operation, names: readonly string[], value: string, ttlMs: number): Promise<number> {
    const refusal = this.refusal();
    if (refusal !== undefined) return Promise.reject(new NodeFailure(refusal));
    if (operation === 'acquire') for (const name of names) this.#mayHold.add(lockOf(name, value));
    this.#sendsSoon ??= setImmediate(() => this.flush());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operation, names, value, ttlMs, resolve, reject });
    });
  }

  #sendRelease(name: string, value: string): void {
    this.#waiting.push({ operation: 'release', names: [name], value, ttlMs: 0, resolve: ignore, reject: ignore });
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
    const names = requests.flatMap((request) => request.names);
    const args = requests.flatMap(({ operation, value, ttlMs, names: { length } }) => [
      operation,
      value,
      ttlMs,
      length,
    ]);
    try {
      const done = await client.evalsha(SCRIPT_HASH, names.length, ...names, ...args).catch((error: unknown) => {
        if (!isReply(error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(SCRIPT, names.length, ...names, ...args);
      });
      // A client with `stringNumbers` answers '1'.
      requests.forEach((request, i) => this.#settle(request, Number((done as unknown[])[i])));
    } catch (error) {
      if (!isReply(error)) throw error; // the command may still have arrived
      if (!this.oneByOne && error.message.startsWith('CROSSSLOT')) {
        // The client is none of a Cluster, but its server is part of one. Several locks at once count as refused.
        this.oneByOne = true;
        for (const request of requests) {
          if (request.names.length > 1) this.#settle(request, 0);
          else this.#send([request]);
        }
        return;
      }
      for (const request of requests) if (request.operation === 'acquire') this.#forget(request);
      throw error;
    }
  }

  #settle(request: Request, done: number): void {
    const { operation, names, value, resolve } = request;
    if (operation === 'acquire' && !done) this.#forget(request);
    if (operation === 'acquire' && done)
      for (const name of names) if (!this.#mayHold.has(lockOf(name, value))) this.#sendRelease(name, value);
    resolve(done * names.length);
  }

  #forget({ names, value }: Request): void {
    for (const name of names) this.#mayHold.delete(lockOf(name, value));
  }
}

function lockOf(name: string, value: string): string {
  return `${value}${name}`;
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}

function ignore(): void {}
