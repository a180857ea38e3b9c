import { setTimeout as sleep } from 'node:timers/promises';

import Redlock, { ExecutionError, Lock, ResourceLockedError } from 'redlock';

import type { LockAttempt, RecordLock } from '../engine/ports/record-lock.js';
import { GuardedClient, NodeFailure } from './guarded-client.js';
import { HeldLocks } from './held-locks.js';
import { LockNode, REDLOCK_SCRIPTS } from './lock-node.js';
import { assertRedisNodes, type RedisLike } from './redis-client.js';
import { type RedlockSettings, resolveRedlockSettings } from './redlock-settings.js';

/** A node's share of the attempt's time. The rest is for another vote, where the first one was split. */
const NODE_SHARE = 0.8;

/** The longest pause after a split vote: some round trips, so that the next vote is not split as well. */
const SPLIT_VOTE_PAUSE_MS = 10;

/** A lock that a request waits for. */
interface Wanted {
  readonly name: string;
  readonly ttl: number;
  readonly resolve: (attempt: LockAttempt) => void;
}

/** Which of the nodes answer. */
export interface LockProbe {
  readonly nodes: number;
  readonly answering: number;
  /** How many have to. */
  readonly quorum: number;
  /** Why each of the others did not; without addresses, names or credentials. */
  readonly failures: readonly string[];
}

/**
 * The lock of a record on a quorum of Redis nodes.
 *
 * Redlock makes the votes, counts them and says how long a lock is valid. Its retries, `using()` and `quit()` are not
 * used. {@link LockNode} carries its operations to a node, {@link GuardedClient} limits their time, and {@link HeldLocks}
 * renews what was acquired. The clients are the user's and are never closed here.
 */
export class RedlockRecordLock implements RecordLock {
  readonly #settings: Required<RedlockSettings>;
  readonly #nodes: readonly LockNode[];
  readonly #redlock: Redlock;
  readonly #held: HeldLocks;
  #wanted: Wanted[] = [];
  #closed = false;

  /**
   * @param clients an odd number of independent nodes
   * @throws Error that names the option, if the clients or the settings are invalid
   */
  constructor(clients: readonly RedisLike[], settings?: RedlockSettings) {
    this.#settings = resolveRedlockSettings(settings);
    const { attemptTimeout, retryAfter, driftFactor } = this.#settings;
    this.#nodes = assertRedisNodes(clients).map((client) => {
      const guard = new GuardedClient(client, attemptTimeout * NODE_SHARE, retryAfter);
      return new LockNode(guard, client.isCluster === true);
    });
    const nodes = this.#nodes as unknown as ConstructorParameters<typeof Redlock>[0];
    this.#redlock = new Redlock(nodes, { retryCount: 0, driftFactor }, REDLOCK_SCRIPTS);
    this.#held = new HeldLocks(this.#redlock, (lock) => this.#giveBack(lock));
  }

  acquire(recordId: string, ttlMs: number): Promise<LockAttempt> {
    // Braces make the id the slot's key in a Cluster, whatever the prefix.
    const name = `${this.#settings.prefix}{${recordId}}`;
    const ttl = Math.max(1, Math.round(ttlMs));
    return new Promise((resolve) => {
      if (this.#wanted.length === 0) setImmediate(() => this.#voteOnWanted());
      this.#wanted.push({ name, ttl, resolve });
    });
  }

  /** Holds one vote on what was asked for in this turn of the event loop, without the same lock twice. */
  #voteOnWanted(): void {
    const wanted = this.#wanted;
    this.#wanted = [];
    const { ttl } = wanted[0] as Wanted;
    const together = new Map<string, Wanted>();
    const alone: Wanted[] = [];
    const mayShare = !this.#nodes.some((node) => node.takesOneByOne);
    for (const lock of wanted) {
      if (mayShare && lock.ttl === ttl && !together.has(lock.name)) together.set(lock.name, lock);
      else alone.push(lock);
    }
    if (together.size > 0) void this.#vote([...together.values()], ttl);
    for (const lock of alone) void this.#vote([lock], lock.ttl);
    for (const node of this.#nodes) node.flush();
  }

  /** Where one of several locks is another's, Redlock acquires none of them, and each gets a vote of its own. */
  async #vote(wanted: readonly Wanted[], ttl: number): Promise<void> {
    const names = wanted.map(({ name }) => name);
    const isAlone = names.length === 1;
    const lastVoteAt = performance.now() + this.#settings.attemptTimeout * (1 - NODE_SHARE);
    for (let votesLeft = 3; ; votesLeft--) {
      const outage = this.#outage();
      if (outage !== undefined) return answer(wanted, unavailable(outage));
      try {
        const lock = await this.#redlock.acquire(names, ttl);
        for (const { name, resolve } of wanted) resolve(this.#keep(name, lock, ttl));
        return;
      } catch (error) {
        const pause = Math.random() * SPLIT_VOTE_PAUSE_MS;
        const canVoteAgain = votesLeft > 1 && performance.now() + pause < lastVoteAt;
        const attempt = await this.#lostVote(error, !isAlone || canVoteAgain);
        if (attempt && (isAlone || attempt.kind === 'unavailable')) return answer(wanted, attempt);
        if (!isAlone) return wanted.forEach((lock) => void this.#vote([lock], ttl));
        await sleep(pause);
      }
    }
  }

  /** Asks every node whether it would lock, as a request would ask it. Settles within the time limit of an attempt. */
  async probe(): Promise<LockProbe> {
    const probes = await Promise.allSettled(this.#nodes.map((node) => node.probe(`${this.#settings.prefix}{probe}`)));
    const failures = probes.flatMap((probe) => (probe.status === 'rejected' ? describe(probe.reason) : []));
    const nodes = this.#nodes.length;
    return { nodes, answering: nodes - failures.length, quorum: Math.floor(nodes / 2) + 1, failures };
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#held.close();
    for (const node of this.#nodes) node.flush();
    return Promise.resolve();
  }

  /** Returns why no vote can be won now, or undefined if enough nodes can be asked. */
  #outage(): string | undefined {
    if (this.#closed) return 'closed';
    let refusals: string[] | undefined;
    for (const node of this.#nodes) {
      const refusal = node.refusal();
      if (refusal !== undefined) (refusals ??= []).push(refusal);
    }
    return refusals && refusals.length * 2 > this.#nodes.length ? this.#noQuorum(refusals) : undefined;
  }

  #keep(name: string, { value, attempts, expiration }: Lock, ttlMs: number): LockAttempt {
    const lock = new Lock(this.#redlock, [name], value, attempts, expiration);
    const needed = Math.min(this.#settings.minValidity, ttlMs / 2);
    const isLate = expiration - Date.now() < needed;
    if (!isLate && !this.#closed) return { kind: 'acquired', lock: this.#held.hold(lock, ttlMs) };
    this.#giveBack(lock);
    return unavailable(isLate ? 'acquired too late' : 'closed');
  }

  /** No vote: Redlock's own `release` would count answers that nothing waits for. */
  #giveBack({ resources: [name], value }: Lock): void {
    for (const node of this.#nodes) node.release(name as string, value);
  }

  /**
   * Distinguishes contention from an outage, for which Redlock throws the same error: a failed node never counts as a lock.
   * Resolves with `undefined` after a split vote, where several applications got some nodes each, if another vote can follow.
   */
  async #lostVote(error: unknown, canVoteAgain: boolean): Promise<LockAttempt | undefined> {
    const stats = error instanceof ExecutionError ? await error.attempts[0] : undefined;
    if (!stats) return unavailable('the attempt failed');
    const { votesFor, votesAgainst, quorumSize } = stats;
    const failures = [...votesAgainst.values()]
      .filter((error) => !(error instanceof ResourceLockedError))
      .map(describe);
    const locked = votesAgainst.size - failures.length;
    if (canVoteAgain && locked > 0 && votesFor.size > 0) return undefined;
    if (locked >= quorumSize || failures.length === 0) return { kind: 'contended' };
    return unavailable(this.#noQuorum(failures));
  }

  /** Such as `no quorum: 3 of 5 Redis nodes out (no answer, not connected)`. */
  #noQuorum(failures: readonly string[]): string {
    const causes = [...new Set(failures)].sort().join(', ');
    return `no quorum: ${failures.length} of ${this.#nodes.length} Redis nodes out (${causes})`;
  }
}

/** Why a node failed, in words that hold no addresses, names or credentials. */
function describe(error: unknown): string {
  return error instanceof NodeFailure ? error.message : 'failed';
}

function answer(wanted: readonly Wanted[], attempt: LockAttempt): void {
  for (const { resolve } of wanted) resolve(attempt);
}

function unavailable(reason: string): LockAttempt {
  return { kind: 'unavailable', reason };
}
