import type { CurrentExecution } from '../engine/current-execution.js';

/**
 * A ticket stands for a request's execution among its handler's arguments. It is a number, since pipes that apply to all
 * arguments leave a number as it is, and has a fraction by which it is known: an odd number of 2^20ths, which no number has
 * that people write down.
 */
const FRACTION = (1 + 2 * Math.floor(Math.random() * 2 ** 19)) / 2 ** 20;
const MOST = 2 ** 31;

let last = 0;
const executions = new Map<number, CurrentExecution>();

/** Of a request that is not idempotent. */
export const NO_TICKET = FRACTION;

/** To be given back by {@link returnTicket}. */
export function issueTicket(execution: CurrentExecution): number {
  last = (last % MOST) + 1;
  const ticket = last + FRACTION;
  executions.set(ticket, execution);
  return ticket;
}

export function returnTicket(ticket: number): void {
  executions.delete(ticket);
}

export function isTicket(value: unknown): value is number {
  return typeof value === 'number' && value % 1 === FRACTION;
}

/** `undefined` for {@link NO_TICKET}, and for a ticket that was given back. */
export function executionOfTicket(ticket: number): CurrentExecution | undefined {
  return executions.get(ticket);
}
