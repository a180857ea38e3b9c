import type { IdempotencyProblemDocument } from './problem.js';
import type { KeyStorage } from './stored-key.js';

/** Options of `idempotentFetch()`. Durations are milliseconds. */
export interface IdempotentFetchOptions {
  /** The operation's key. Default: that of the request's header or of `storage`, or else a new random UUID. */
  readonly key?: string;
  /**
   * Keeps the key until the response is definitive, such as `sessionStorage`: after a reload of the page, the same `operation` has the
   * same key. Needs `operation`. Default: none.
   *
   * @example
   * await idempotentFetch(url, init, { storage: sessionStorage, operation: `checkout:${cart.id}` });
   */
  readonly storage?: KeyStorage;
  /** The name of the operation in `storage`, such as `checkout:${cart.id}`. */
  readonly operation?: string;
  /** The name of the request header with the key. Default: `Idempotency-Key`. */
  readonly header?: string;
  /** How often the client sends the request at most. Default: 15. */
  readonly maxAttempts?: number;
  /** The limit for all attempts and the pauses between them. Default: 60,000. */
  readonly deadline?: number;
  /** The limit for one attempt. Default: 20,000. */
  readonly attemptTimeout?: number;
  /** The pause before the first retry, half of it random. It doubles with every retry. Default: 250. */
  readonly firstPause?: number;
  /** The longest pause, unless the server asks for a longer one. Default: 5,000. */
  readonly longestPause?: number;
  /** Called before each pause. Default: none. */
  readonly onRetry?: (retry: Retry) => void;
  /** Sends the requests. Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Why and when the client sends a request again. */
export interface Retry {
  /** How often the client has sent it so far. */
  readonly attempts: number;
  /** The pause before the next attempt, in milliseconds. */
  readonly pause: number;
  /** The response that asks for the retry. Its body can be read. */
  readonly response?: Response;
  /** The error of an attempt without a response. */
  readonly error?: unknown;
}

/** The result of `idempotentFetch()`. */
export interface IdempotentResult {
  /** The last response. Its body has arrived in full, unless it is an event stream. */
  readonly response: Response;
  /** Whether the response is a replay of an earlier request's. */
  readonly replayed: boolean;
  /**
   * Whether the outcome of the operation is known. If not, it may have run, or may still run: call again with the same key, which stays in
   * `storage`.
   */
  readonly definitive: boolean;
  /** How often the client sent the request. */
  readonly attempts: number;
  /** The operation's key, for another call of the same operation. */
  readonly key: string;
  /** The response's problem details, where it is a refusal of the idempotency layer. */
  readonly problem?: IdempotencyProblemDocument;
}

/** Options with their defaults. */
export type Settings = Required<Pick<IdempotentFetchOptions, NumericOption | 'header' | 'fetch'>> &
  Pick<IdempotentFetchOptions, 'key' | 'storage' | 'operation' | 'onRetry'>;

type NumericOption = 'maxAttempts' | 'deadline' | 'attemptTimeout' | 'firstPause' | 'longestPause';

const DEFAULTS: Readonly<Record<NumericOption, number>> = {
  maxAttempts: 15,
  deadline: 60_000,
  attemptTimeout: 20_000,
  firstPause: 250,
  longestPause: 5_000,
};

/** The longest delay of a timer, in milliseconds: a longer one fires at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

const OPTIONS = [...Object.keys(DEFAULTS), 'key', 'storage', 'operation', 'onRetry', 'header', 'fetch'];

/** @throws TypeError, RangeError for options that cannot be used, naming them */
export function resolveOptions(options: IdempotentFetchOptions): Settings {
  const { key, storage, operation, onRetry, header = 'Idempotency-Key', fetch = globalThis.fetch } = options;
  // A key under a misspelt name would be a new one on each call, and the operation would run again.
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`idempotentFetch: the option \`${unknown}\` does not exist; there are ${OPTIONS.join(', ')}`);
  }
  if (key === '') throw new TypeError('idempotentFetch: the option `key` is empty');
  if ((storage === undefined) !== (operation === undefined)) {
    throw new TypeError('idempotentFetch: the options `storage` and `operation` go together');
  }
  const numbers = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as NumericOption[]) {
    const value = options[name] ?? DEFAULTS[name];
    if (typeof value !== 'number' || !(value >= 1 && value <= MAX_DELAY_MS)) {
      throw new RangeError(`idempotentFetch: the option \`${name}\` must be a number from 1 to ${MAX_DELAY_MS}`);
    }
    numbers[name] = value;
  }
  return { ...numbers, key, storage, operation, onRetry, header, fetch };
}
