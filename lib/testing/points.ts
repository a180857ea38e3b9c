import type { Claim, FencedAnswer, Ownership, RecordState } from '../engine/ports/record-store.js';

/** What an execution asks of the store and of the wire, in the order of a run. */
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
/** What an execution asks, at which a fault can strike. */
export type FaultCall = (typeof FAULT_CALLS)[number];

/** A point of the protocol. `release` is any giving back of a record without an outcome. */
export type FaultPoint = `${'before' | 'after'} ${FaultCall}`;

/** All points of the protocol, in the order of a run. */
export const FAULT_POINTS: readonly FaultPoint[] = FAULT_CALLS.flatMap(
  (call) => [`before ${call}`, `after ${call}`] as const,
);

/** Where an execution is. Points of an application's own have names of its own. */
export interface FaultSite {
  readonly point: FaultPoint | (string & {});
  /** Empty where it is not known yet, as before COMMIT of a transaction that completes nothing. */
  readonly recordId: string;
  readonly claim?: Claim;
  readonly ownership?: Ownership;
  /** What the store answered, after a call. */
  readonly answer?: RecordState | FencedAnswer;
  /** Breaks the connection to the client. At `send` only. */
  readonly hangUp?: () => void;
}

/** Called at each point. What it throws is what the caller gets; while it waits, the caller does. */
export type FaultHook = (site: FaultSite) => void | Promise<void>;
