import type { IdempotencyModuleOptions } from 'nestjs-idempotency';

/** Kinds of operations; each is the route of its handler. */
export const ROUTES = ['plain', 'transactional', 'steps', 'waiting'] as const;
export type Route = (typeof ROUTES)[number];

/** The body of every request. */
export interface Order {
  readonly op: string;
  /** How long the handler takes, in milliseconds. */
  readonly work: number;
}

/** One call of a handler, and what it answers: different for each call, so that an answer shows which call made it. */
export interface Run {
  readonly op: string;
  readonly run: string;
  readonly token: number;
  readonly attempt: number;
  /** When its request had arrived, on the machine's monotonic clock in milliseconds. */
  readonly arrivedAt: number;
}

/** How an application is set up, as JSON in its environment. */
export interface Setup {
  readonly platform: 'express' | 'fastify';
  /** Of TypeORM. */
  readonly database: object;
  readonly providerUrl: string;
  readonly options: Omit<IdempotencyModuleOptions, 'redis'>;
}
