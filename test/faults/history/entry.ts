import type { Workload } from './workloads.js';

interface Said<Kind extends string> {
  readonly kind: Kind;
  /** Milliseconds on the machine's monotonic clock, which all processes share. */
  readonly at: number;
  /** Which process says so. */
  readonly who: string;
}

/** An operation that clients are going to ask for, and the record that belongs to it. */
export interface Operation extends Said<'operation'> {
  readonly op: string;
  readonly workload: Workload;
  readonly key: string;
  readonly principal: string;
  readonly record: string;
  /** It cannot be carried out, however often it is asked for: the application says no, and nothing stays. */
  readonly refused?: true;
  /** Its client asks once and never comes back, whatever the answer. */
  readonly abandoned?: true;
}

/** A client sends a request. `misuse`: with the operation's key, but another body. */
export interface Ask extends Said<'ask'> {
  readonly op: string;
  readonly ask: number;
  readonly app: string;
  readonly misuse?: true;
}

export interface Answer extends Said<'answer'> {
  readonly op: string;
  readonly ask: number;
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly replayed: boolean;
  readonly definitive: boolean;
  readonly misuse?: true;
}

/** No answer: the connection broke, or the client gave up (`gaveUp`: on purpose, `timeout`: it took too long). */
export interface Lost extends Said<'lost'> {
  readonly op: string;
  readonly ask: number;
  readonly why: 'broken' | 'gaveUp' | 'timeout';
  readonly error?: string;
}

/** A claim was won. One whose answer was lost is sent again by the same owner, and said again. */
export interface Claimed extends Said<'claimed'> {
  readonly record: string;
  readonly owner: string;
  readonly token: number;
  readonly attempt: number;
  readonly takenFrom: string | null;
  /** When its owner sent it first. */
  readonly sentAt: number;
}

/** A lease was renewed. */
export interface Renewed extends Said<'renewed'> {
  readonly record: string;
  readonly token: number;
  readonly sentAt: number;
}

/** An outcome is on record, as the application knows. `sentAt`: when it was first sent to the store. */
export interface Completed extends Said<'completed'> {
  readonly record: string;
  readonly token: number;
  readonly sentAt: number;
}

/** What else the engine emits: a lease lost, a key freed, or about to be (`letting go`). */
export interface EngineEvent extends Said<'engine event'> {
  readonly record: string;
  readonly event: string;
  readonly token: number;
}

/** A handler was called. `again`: by an interceptor that tries again, under the same claim. */
export interface Began extends Said<'began'> {
  readonly op: string;
  readonly token: number;
  readonly attempt: number;
  readonly again?: true;
}

/** An operation met what its workload is about, such as a database error that its handler catches. */
export interface Met extends Said<'met'> {
  readonly op: string;
  readonly what: Hardship;
}

/** What ordinary applications go through, apart from faults. */
export const HARDSHIPS = [
  'unique violation caught',
  'deadlock caught',
  'COMMIT refused',
  'completion refused',
  'response refused',
  'step wrote in the transaction',
  'interceptor timed out',
  'middleware timed out',
  'interceptor tried again inside',
  'interceptor tried again outside',
  'client never came back',
  'step names by case',
  'ran longer than its retention',
] as const;
export type Hardship = (typeof HARDSHIPS)[number];

/** The world outside was changed, past any transaction. */
export interface Effect extends Said<'effect'> {
  readonly op: string;
  readonly token: number;
  readonly attempt: number;
}

/** A step's function was called, or its step was acknowledged as recorded. */
interface StepNews {
  readonly op: string;
  readonly step: string;
  readonly token: number;
  /** By which call of the handler. */
  readonly run: string;
}

export interface StepRan extends Said<'step ran'>, StepNews {}

/** `resultOf`: the step whose result was returned. */
export interface StepDone extends Said<'step done'>, StepNews {
  readonly resultOf?: string;
}

/** The provider was asked to charge; `first` for its key. */
export interface Charge extends Said<'charge'> {
  readonly op: string;
  readonly key: string;
  readonly first: boolean;
}

/** An operator is about to settle a held record as having happened. */
export interface Resolved extends Said<'resolved'> {
  readonly op: string;
}

/** Since it last looked, half a second ago or so, a process waited this long for a processor. */
export interface Starved extends Said<'starved'> {
  readonly ms: number;
}

/** A fault begins. */
export interface Fault extends Said<'fault'> {
  readonly fault: string;
  readonly on: string;
  /** Which one of those that {@link FaultOver} names. */
  readonly number?: number;
}

/** A fault that has a length is over. */
export interface FaultOver extends Said<'fault over'> {
  readonly number: number;
}

/** All faults are over, and all processes up. */
export interface Healed extends Said<'healed'> {}

/** A row that a transactional handler wrote, as it was found in the database. `run`: by which call of the handler. */
export interface Row extends Said<'row'> {
  readonly op: string;
  readonly part: string;
  readonly run: string;
  readonly token: number;
  readonly attempt: number;
}

/** All rows have been said that were committed before then. */
export interface Looked extends Said<'looked'> {}

/** At the end: a record as it stands. */
export interface FinalRecord extends Said<'final record'> {
  readonly record: string;
  readonly status: string;
  readonly token: number;
}

/** At the end: what is left after everything has expired and was swept. */
export interface Left extends Said<'left'> {
  readonly records: number;
  readonly steps: number;
}

export type Entry =
  | Operation
  | Ask
  | Answer
  | Lost
  | Claimed
  | Renewed
  | Completed
  | EngineEvent
  | Began
  | Met
  | Starved
  | Effect
  | StepRan
  | StepDone
  | Charge
  | Resolved
  | Fault
  | FaultOver
  | Healed
  | Row
  | Looked
  | FinalRecord
  | Left;

type WithoutStamp<E> = E extends Entry ? Omit<E, 'at' | 'who'> & { at?: number } : never;

/** An entry as it is handed to a log, which adds who says it and when. */
export type News = WithoutStamp<Entry>;
