/** The `redlock` option: how the lock in Redis is taken. Durations are milliseconds. */
export interface RedlockSettings {
  /**
   * What the lock's names in Redis begin with; the record's id follows, in braces. Default `'nestjs-idempotency:lock:'`.
   * An ioredis `keyPrefix` comes before it.
   */
  readonly prefix?: string;

  /**
   * How long one attempt to take the lock may last before the request goes on without it. Default 100 ms, the most that
   * an outage of Redis may cost a request; each node has four fifths of it to answer.
   */
  readonly attemptTimeout?: number;

  /**
   * A lock with less time left than this after it was taken is given back as useless. Default 50 ms; never more than
   * half of the lock's time to live.
   */
  readonly minValidity?: number;

  /**
   * How far the clocks of the Redis nodes may run apart, as a share of the lock's time to live. Default 0.01, Redlock's
   * own; from 0 to less than 1.
   */
  readonly driftFactor?: number;

  /**
   * The pause before a node that did not answer is asked again, with a PING that no request waits for; one at a time.
   * Default 1000 ms. A late answer ends the pause at once.
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

const milliseconds = (least: number): string => `a number of milliseconds, at least ${least}`;

/**
 * Fills in the defaults and checks the rest.
 *
 * @throws Error that names the option
 */
export function resolveRedlockSettings(settings: RedlockSettings = {}): Required<RedlockSettings> {
  const given = Object.entries(settings).filter(([, value]) => value !== undefined);
  const resolved = { ...REDLOCK_DEFAULTS, ...(Object.fromEntries(given) as RedlockSettings) };
  const { prefix, attemptTimeout, minValidity, driftFactor, retryAfter } = resolved;
  check('prefix', typeof prefix === 'string', 'a string');
  check('attemptTimeout', isNumber(attemptTimeout) && attemptTimeout >= 1, milliseconds(1));
  check('minValidity', isNumber(minValidity) && minValidity >= 0, milliseconds(0));
  check('driftFactor', isNumber(driftFactor) && driftFactor >= 0 && driftFactor < 1, 'a number from 0 to less than 1');
  check('retryAfter', isNumber(retryAfter) && retryAfter >= 1, milliseconds(1));
  return resolved;
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value);
}

function check(name: string, ok: boolean, expected: string): void {
  if (!ok) throw new Error(`IdempotencyModule: option \`redlock.${name}\` must be ${expected}`);
}
