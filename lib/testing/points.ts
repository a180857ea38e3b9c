import type { Claim, FencedAnswer, Ownership, RecordState } from '../engine/ports/record-store.js';

/** The calls of an execution, in the order of a run. */
export const FAULT_CALLS = [
  'read',
  'claim',
  'handler',
  'step begin',
  'step end',
  'renew',
  'complete',
  'commit',
  'release',
  'send',
] as const;
/** A call of an execution, before or after which a fault can strike. */
export type FaultCall = (typeof FAULT_CALLS)[number];

/** A point of the protocol. `release` also stands for discarding and holding a record. */
export type FaultPoint = `${'before' | 'after'} ${FaultCall}`;

/** All points of the protocol, in the order of a run. */
export const FAULT_POINTS: readonly FaultPoint[] = FAULT_CALLS.flatMap(
  (call) => [`before ${call}`, `after ${call}`] as const,
);

/** Where an execution is. */
export interface FaultSite {
  /** A point of the protocol, or the name of one of the application's own. */
  readonly point: FaultPoint | (string & {});
  /** Empty where it is unknown, as before the COMMIT of a transaction that completes nothing. */
  readonly recordId: string;
  /** What the execution claims, at the points of `claim`. */
  readonly claim?: Claim;
  /** The record, owner and token of a call that only the owner may make. */
  readonly ownership?: Ownership;
  /** The store's answer, after a call. */
  readonly answer?: RecordState | FencedAnswer;
  /** Breaks the connection to the client. Only at `send`. */
  readonly hangUp?: () => void;
}

/** Called at each point. The caller gets what it throws, and waits while it waits. */
export type FaultHook = (site: FaultSite) => void | Promise<void>;
