import { type ExecutionStats, ResourceLockedError } from 'redlock';

import { NodeFailure } from './guarded-client.js';

/** How the nodes voted when a lock was not taken. */
export interface Ballot {
  /** A quorum of nodes hold another's lock, or all nodes answered and none is out. */
  readonly contended: boolean;
  /** We got some nodes and others got some: perhaps nobody has the lock. */
  readonly split: boolean;
  /** Why there was no quorum, where it was no contention; without addresses, names or credentials. */
  readonly reason: string;
}

/**
 * Tells contention from outage, which Redlock reports as one and the same error. A node that is out is never counted as
 * somebody's lock.
 */
export function readBallot(stats: ExecutionStats): Ballot {
  const against = [...stats.votesAgainst.values()];
  const failed = against.filter((e) => !(e instanceof ResourceLockedError));
  const locked = against.length - failed.length;
  return {
    contended: locked >= stats.quorumSize || failed.length === 0,
    split: locked > 0 && stats.votesFor.size > 0,
    reason: describeOutage(failed.map(describeFailure), stats.membershipSize),
  };
}

/** Why a node is out, in words that hold no addresses, names or credentials. */
export function describeFailure(error: unknown): string {
  return error instanceof NodeFailure ? error.message : 'failed';
}

/** Such as `no quorum: 3 of 5 Redis nodes out (no answer, not connected)`. */
export function describeOutage(failures: readonly string[], nodes: number): string {
  const causes = [...new Set(failures)].sort().join(', ');
  return `no quorum: ${failures.length} of ${nodes} Redis nodes out (${causes})`;
}
