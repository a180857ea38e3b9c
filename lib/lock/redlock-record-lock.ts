import { setTimeout as sleep } from 'node:timers/promises';

import Redlock, { ExecutionError, type Lock } from 'redlock';

import type { LockAttempt, RecordLock } from '../engine/ports/record-lock.js';
import { type Ballot, describeFailure, describeOutage, readBallot } from './ballot.js';
import { GuardedClient } from './guarded-client.js';
import { ACQUIRE_SCRIPT, LockNode } from './lock-node.js';
import { assertRedisNodes, type RedisLike } from './redis-client.js';
import { type RedlockSettings, resolveRedlockSettings } from './redlock-settings.js';
import { settleWithin, TIME_IS_UP } from './settle-within.js';
import { TurnPipeline } from './turn-pipeline.js';
import { WatchedLock } from './watched-lock.js';

/** A node's share of the attempt's time: the rest is for counting the votes of those that did answer. */
const NODE_SHARE = 0.8;

const SPLIT_VOTE_RETRIES = 2;

/** The longest pause after a split vote, in milliseconds; some round trips, so that the next vote is not split as well. */
const SPLIT_VOTE_PAUSE = 10;

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
 * Redlock casts and counts the votes and nothing else. Its retries, its `using()` and its `quit()` are not used; time
 * limits, the circuit breaker and what becomes of late answers are {@link GuardedClient}'s and {@link LockNode}'s, renewal
 * is {@link WatchedLock}'s. The clients are the user's and are never closed here.
 */
export class RedlockRecordLock implements RecordLock {
  readonly #settings: Required<RedlockSettings>;
  readonly #nodes: readonly LockNode[];
  readonly #redlock: Redlock;
  readonly #held = new Set<WatchedLock>();
  #closed = false;

  /**
   * @param clients an odd number of independent nodes
   * @throws Error that names the option, if the clients or the settings won't do
   */
  constructor(clients: readonly RedisLike[], settings?: RedlockSettings) {
    this.#settings = resolveRedlockSettings(settings);
    const { attemptTimeout, retryAfter, driftFactor } = this.#settings;
    this.#nodes = assertRedisNodes(clients).map(
      (client) =>
        new LockNode(
          new GuardedClient(TurnPipeline.over(client), attemptTimeout * NODE_SHARE, retryAfter),
          () => this.#redlock.scripts,
        ),
    );
    this.#redlock = new Redlock(
      this.#nodes as unknown as ConstructorParameters<typeof Redlock>[0],
      { retryCount: 0, driftFactor },
      { acquireScript: () => ACQUIRE_SCRIPT }, // Redlock ignores a plain string
    );
  }

  async acquire(recordId: string, ttlMs: number): Promise<LockAttempt> {
    // Braces make the id the slot's key in a Cluster, whatever the prefix.
    const name = `${this.#settings.prefix}{${recordId}}`;
    try {
      return await this.#acquire(name, Math.max(1, Math.round(ttlMs)));
    } catch {
      return unavailable('the attempt failed');
    }
  }

  /** Asks every node whether it would lock, as a request would ask it. Settles within the time limit of an attempt. */
  async probe(): Promise<LockProbe> {
    const probes = await Promise.allSettled(this.#nodes.map((node) => node.probe(`${this.#settings.prefix}{probe}`)));
    const failures = probes.flatMap((probe) => (probe.status === 'rejected' ? describeFailure(probe.reason) : []));
    const nodes = this.#nodes.length;
    return { nodes, answering: nodes - failures.length, quorum: Math.floor(nodes / 2) + 1, failures };
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const lock of this.#held) lock.stop();
    return Promise.resolve();
  }

  async #acquire(name: string, ttlMs: number): Promise<LockAttempt> {
    const giveUpAt = performance.now() + this.#settings.attemptTimeout;
    for (let retriesLeft = SPLIT_VOTE_RETRIES; ; retriesLeft--) {
      const outage = this.#outage();
      if (outage !== undefined) return unavailable(outage);
      const outcome = await this.#attempt(name, ttlMs, giveUpAt - performance.now());
      if ('expiration' in outcome) return this.#keep(outcome, ttlMs);
      const pause = Math.random() * SPLIT_VOTE_PAUSE;
      if (outcome.split && retriesLeft > 0 && performance.now() + pause < giveUpAt) await sleep(pause);
      else if (outcome.contended) return { kind: 'contended' };
      else return unavailable(outcome.reason);
    }
  }

  /** The circuit breaker: why it is no use to ask, or undefined if enough nodes can be asked. */
  #outage(): string | undefined {
    if (this.#closed) return 'closed';
    const refusals = this.#nodes.flatMap((node) => node.refusal() ?? []);
    return refusals.length * 2 > this.#nodes.length ? describeOutage(refusals, this.#nodes.length) : undefined;
  }

  /** One vote, which ends within `ms` milliseconds. A lock that comes later is given back. */
  async #attempt(name: string, ttlMs: number, ms: number): Promise<Lock | Ballot> {
    const vote = this.#vote(name, ttlMs);
    const outcome = await settleWithin(vote, ms);
    if (outcome !== TIME_IS_UP) return outcome;
    vote.then((late) => {
      if ('expiration' in late) this.#giveBack(late);
    }, ignore);
    const reason = `no quorum within ${this.#settings.attemptTimeout} ms`;
    return { contended: false, split: false, reason };
  }

  async #vote(name: string, ttlMs: number): Promise<Lock | Ballot> {
    try {
      return await this.#redlock.acquire([name], ttlMs);
    } catch (error) {
      const stats = error instanceof ExecutionError && error.attempts[0];
      if (!stats) throw error;
      return readBallot(await stats);
    }
  }

  #keep(lock: Lock, ttlMs: number): LockAttempt {
    const needed = Math.min(this.#settings.minValidity, ttlMs / 2);
    if (lock.expiration - Date.now() >= needed && !this.#closed) {
      const held = new WatchedLock(this.#redlock, lock, ttlMs, (ended) => this.#held.delete(ended));
      this.#held.add(held);
      return { kind: 'acquired', lock: held };
    }
    this.#giveBack(lock);
    return unavailable(this.#closed ? 'closed' : 'acquired too late');
  }

  #giveBack(lock: Lock): void {
    this.#redlock.release(lock).catch(ignore);
  }
}

function unavailable(reason: string): LockAttempt {
  return { kind: 'unavailable', reason };
}

function ignore(): void {}
