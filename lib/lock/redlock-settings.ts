/**
 * The option `redlock`: how locks in Redis are acquired. Durations are in milliseconds.
 *
 * @example
 * ```ts
 * IdempotencyModule.forRoot({ redis: [redisA, redisB, redisC], redlock: { attemptTimeout: 50 } })
 * ```
 */
export interface RedlockSettings {
  /**
   * The prefix of the locks' keys in Redis. The record's id follows, in braces. Default `'nestjs-idempotency:lock:'`. An
   * ioredis `keyPrefix` comes before it.
   */
  readonly prefix?: string;

  /**
   * How long an attempt to acquire the lock may last. After that, the request continues without it. Default 100 ms, which is
   * the most that an outage of Redis costs a request. Each node has four fifths of it to answer.
   */
  readonly attemptTimeout?: number;

  /**
   * The shortest validity that a lock must have left once it is acquired. A lock with less is released. Default 50 ms; at most
   * half of the lock's time to live counts.
   */
  readonly minValidity?: number;

  /**
   * How far the clocks of the Redis nodes may drift apart, as a share of the lock's time to live. From 0 to less than 1;
   * default 0.01, as in Redlock.
   */
  readonly driftFactor?: number;

  /**
   * The pause before a node that did not answer gets a PING, which no request waits for. Default 1000 ms. A late answer ends
   * the pause at once.
   */
  readonly retryAfter?: number;
}

export const REDLOCK_DEFAULTS: Readonly<Required<RedlockSettings>> = {
  prefix: 'nestjs-idempotency:lock:',
  attemptTimeout: 100,
  minValidity: 50,
  driftFactor: 0.01,
  retryAfter: 1000,
};
