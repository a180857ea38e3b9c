import { setTimeout as sleep } from 'node:timers/promises';

import Redlock, { ExecutionError, Lock, ResourceLockedError } from 'redlock';

import type { HeldLock, LockAttempt, RecordLock } from '../engine/ports/record-lock.js';
import { GuardedClient, NodeFailure } from './guarded-client.js';
import { LockNode, REDLOCK_SCRIPTS } from './lock-node.js';
import type { RedisLike } from './redis-client.js';
import { REDLOCK_DEFAULTS, type RedlockSettings } from './redlock-settings.js';

/** The share of an attempt that a node has to answer. The rest is for another vote after a split one. */
const NODE_SHARE = 0.8;

/** The longest pause after a split vote. Without a random pause, the same competitors would split the next one. */
const SPLIT_VOTE_PAUSE_MS = 10;

/** A lock that a request waits for. */
interface LockRequest {
  readonly name: string;
  readonly ttl: number;
  readonly resolve: (attempt: LockAttempt) => void;
}

/** How many of the nodes answer. */
export interface LockProbe {
  readonly nodes: number;
  readonly answering: number;
  /** How many must answer for a lock. */
  readonly quorum: number;
  /** Why each of the others did not, without addresses, names or credentials. */
  readonly failures: readonly string[];
}

/**
 * The lock of a record on a quorum of Redis nodes.
 *
 * Redlock asks the nodes, counts their votes and computes how long a lock is valid. Its retries, `using()` and `quit()` are not
 * used. {@link LockNode} sends its operations to a node, and {@link GuardedClient} limits their time. The clients are the
 * application's, and are never closed here.
 */
export class RedlockRecordLock implements RecordLock {
  readonly #settings: Required<RedlockSettings>;
  readonly #nodes: readonly LockNode[];
  readonly #redlock: Redlock;
  #requests: LockRequest[] = [];
  #closed = false;

  /** @param clients an odd number of independent nodes */
  constructor(clients: readonly RedisLike[], settings?: RedlockSettings) {
    this.#settings = { ...REDLOCK_DEFAULTS, ...settings };
    const { attemptTimeout, retryAfter, driftFactor } = this.#settings;
    this.#nodes = clients.map((client) => {
      const guard = new GuardedClient(client, attemptTimeout * NODE_SHARE, retryAfter);
      return new LockNode(guard, client.isCluster === true);
    });
    const nodes = this.#nodes as unknown as ConstructorParameters<typeof Redlock>[0];
    this.#redlock = new Redlock(nodes, { retryCount: 0, driftFactor }, REDLOCK_SCRIPTS);
  }

  acquire(recordId: string, ttlMs: number): Promise<LockAttempt> {
    // The braces make the id alone decide the slot in a Cluster.
    const name = `${this.#settings.prefix}{${recordId}}`;
    const ttl = Math.max(1, Math.round(ttlMs));
    return new Promise((resolve) => {
      if (this.#requests.length === 0) setImmediate(() => this.#voteOnRequests());
      this.#requests.push({ name, ttl, resolve });
    });
  }

  /** Holds one vote on all locks that were requested in this turn of the event loop. A second request for a lock votes alone. */
  #voteOnRequests(): void {
    const requests = this.#requests;
    this.#requests = [];
    const { ttl } = requests[0] as LockRequest;
    const together = new Map<string, LockRequest>();
    const alone: LockRequest[] = [];
    const mayShare = !this.#nodes.some((node) => node.oneByOne);
    for (const lock of requests) {
      if (mayShare && lock.ttl === ttl && !together.has(lock.name)) together.set(lock.name, lock);
      else alone.push(lock);
    }
    if (together.size > 0) void this.#vote([...together.values()], ttl);
    for (const lock of alone) void this.#vote([lock], lock.ttl);
    for (const node of this.#nodes) node.flush();
  }

  /** If another owner holds one of several locks, Redlock acquires none of them, and each gets its own vote. */
  async #vote(requests: readonly LockRequest[], ttl: number): Promise<void> {
    const names = requests.map(({ name }) => name);
    const lastVoteAt = performance.now() + this.#settings.attemptTimeout * (1 - NODE_SHARE);
    for (let votesLeft = 2; ; votesLeft--) {
      const outage = this.#outage();
      if (outage !== undefined) return answer(requests, unavailable(outage));
      try {
        const lock = await this.#redlock.acquire(names, ttl);
        for (const { name, resolve } of requests) resolve(this.#keep(name, lock, ttl));
        return;
      } catch (error) {
        const { attempt, isSplit } = await this.#lostVote(error);
        if (names.length > 1 && (isSplit || attempt.kind === 'contended')) {
          return requests.forEach((lock) => void this.#vote([lock], ttl));
        }
        const pause = Math.random() * SPLIT_VOTE_PAUSE_MS;
        if (!isSplit || votesLeft === 0 || performance.now() + pause >= lastVoteAt) return answer(requests, attempt);
        await sleep(pause);
      }
    }
  }

  /** Takes a lock on every node, as a request would. Settles within the time limit of an attempt. */
  async probe(): Promise<LockProbe> {
    const probes = await Promise.allSettled(this.#nodes.map((node) => node.probe(`${this.#settings.prefix}{probe}`)));
    const failures = probes.flatMap((probe) => (probe.status === 'rejected' ? describe(probe.reason) : []));
    const nodes = this.#nodes.length;
    return { nodes, answering: nodes - failures.length, quorum: Math.floor(nodes / 2) + 1, failures };
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const node of this.#nodes) node.flush();
    return Promise.resolve();
  }

  /** Returns why no vote can be won now, or undefined if a quorum of nodes accepts commands. */
  #outage(): string | undefined {
    if (this.#closed) return 'closed';
    let refusals: string[] | undefined;
    for (const node of this.#nodes) {
      const refusal = node.refusal();
      if (refusal !== undefined) (refusals ??= []).push(refusal);
    }
    return refusals && refusals.length * 2 > this.#nodes.length ? this.#noQuorum(refusals) : undefined;
  }

  #keep(name: string, { value, expiration }: Lock, ttlMs: number): LockAttempt {
    const lock = new HeldRedlock(this, name, value, ttlMs, expiration);
    const needed = Math.min(this.#settings.minValidity, ttlMs / 2);
    const isLate = expiration - Date.now() < needed;
    if (!isLate && !this.#closed) return { kind: 'acquired', lock };
    lock.release();
    return unavailable(isLate ? 'acquired too late' : 'closed');
  }

  /** Resolves to when the lock now expires, by this process's clock: as before, if no quorum of nodes has extended it. */
  async extend(name: string, value: string, ttlMs: number, expiration: number): Promise<number> {
    if (this.#closed) return expiration;
    const lock = new Lock(this.#redlock, [name], value, [], expiration);
    return this.#redlock.extend(lock, ttlMs).then(
      (extended) => extended.expiration,
      () => expiration,
    );
  }

  /** Releases without a vote: Redlock's own `release` would wait for answers that no request needs. */
  release(name: string, value: string): void {
    for (const node of this.#nodes) node.release(name, value);
  }

  /**
   * Distinguishes contention from an outage, for which Redlock throws the same error: a failed node never counts as a lock. In a split vote,
   * several processes got some nodes each, and another vote may have a winner.
   */
  async #lostVote(error: unknown): Promise<{ attempt: LockAttempt; isSplit: boolean }> {
    const stats = error instanceof ExecutionError ? await error.attempts[0] : undefined;
    if (!stats) return { attempt: unavailable('the attempt failed'), isSplit: false };
    const { votesFor, votesAgainst, quorumSize } = stats;
    const failures = [...votesAgainst.values()]
      .filter((error) => !(error instanceof ResourceLockedError))
      .map(describe);
    const locked = votesAgainst.size - failures.length;
    const isContended = locked >= quorumSize || failures.length === 0;
    return {
      attempt: isContended ? { kind: 'contended' } : unavailable(this.#noQuorum(failures)),
      isSplit: locked > 0 && votesFor.size > 0,
    };
  }

  /** Returns a reason such as `no quorum: 3 of 5 Redis nodes out (no answer, not connected)`. */
  #noQuorum(failures: readonly string[]): string {
    const causes = [...new Set(failures)].sort().join(', ');
    return `no quorum: ${failures.length} of ${this.#nodes.length} Redis nodes out (${causes})`;
  }
}

/**
 * Redlock's own `using()` aborts late, can spin, and throws when its release fails. Here, a lock that expires before it could be
 * renewed is released without an error: the database decides who may complete the record.
 */
class HeldRedlock implements HeldLock {
  private isReleased = false;

  constructor(
    private readonly redlock: RedlockRecordLock,
    private readonly name: string,
    private readonly value: string,
    private readonly ttlMs: number,
    private expiration: number,
  ) {}

  renew(): void {
    // After its expiry, the lock may be another process's.
    if (this.expiration <= Date.now()) this.release();
    if (!this.isReleased) void this.extend();
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.redlock.release(this.name, this.value);
  }

  private async extend(): Promise<void> {
    this.expiration = await this.redlock.extend(this.name, this.value, this.ttlMs, this.expiration);
  }
}

/** Returns why a node failed, without addresses, names or credentials. */
function describe(error: unknown): string {
  return error instanceof NodeFailure ? error.message : 'failed';
}

function answer(requests: readonly LockRequest[], attempt: LockAttempt): void {
  for (const { resolve } of requests) resolve(attempt);
}

function unavailable(reason: string): LockAttempt {
  return { kind: 'unavailable', reason };
}
