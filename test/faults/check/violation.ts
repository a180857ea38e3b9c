import type { Operation } from '../history/entry.js';
import type { History } from './history.js';

/** The guarantees of docs/guarantees.md, by name. */
export const GUARANTEES = [
  'one winner',
  'durable before sent',
  'no stale writes',
  'transactional',
  'resumable',
  'unknown outcomes are never retried',
  'fail closed',
  'no leaks',
  'available again',
  'no orphans',
] as const;
export type Guarantee = (typeof GUARANTEES)[number];

export interface Violation {
  readonly guarantee: Guarantee;
  /** What was seen, in words. */
  readonly detail: string;
  readonly op?: string;
}

export interface Terms {
  readonly leaseMs: number;
  /** How long an application may take to say anything, for a handler of no length. */
  readonly answerWithinMs: number;
  /** The longest time that a handler of this operation takes. */
  readonly workMs: (operation: Operation) => number;
}

/** Looks at one operation for what must not be. Yields what it saw, in words. */
export type Rule = (history: History, operation: Operation, terms: Terms) => Iterable<string>;
