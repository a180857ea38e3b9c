import type { IdempotencyProblemDocument } from './problem.js';
import type { KeyStorage } from './stored-key.js';

/** How an operation is asked for. Durations are milliseconds. */
export interface IdempotentFetchOptions {
  /** The operation's key. Default: the one in the request's header or in `storage`, or else a new random UUID. */
  readonly key?: string;
  /**
   * Where the key is kept until the operation was answered definitively, such as `sessionStorage`: the same `operation`
   * has the same key after a reload of the page. Default: nowhere.
   */
  readonly storage?: KeyStorage;
  /** What names the operation in `storage`, such as `checkout:${cart.id}`. */
  readonly operation?: string;
  /** The header that takes the key. Default: `Idempotency-Key`. */
  readonly header?: string;
  /** How often the request is sent. Default: 15. */
  readonly maxAttempts?: number;
  /** How long all attempts and the pauses between them may take. Default: 60,000. */
  readonly deadline?: number;
  /** How long one attempt may take. Default: 20,000. */
  readonly attemptTimeout?: number;
  /** The pause before the first retry, half of it random. Doubles with every retry. Default: 250. */
  readonly firstPause?: number;
  /** The longest pause that is taken unless the server asks for a longer one. Default: 5,000. */
  readonly longestPause?: number;
  /** Told before each pause. */
  readonly onRetry?: (retry: Retry) => void;
  /** What sends the request. Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

/** Why and when a request is sent again. */
export interface Retry {
  /** How often it was sent so far. */
  readonly attempts: number;
  /** The pause before it is sent again, in milliseconds. */
  readonly pause: number;
  /** The answer that asks for it; its body can be read. */
  readonly response?: Response;
  /** What the attempt failed with, where it was not answered. */
  readonly error?: unknown;
}

/** The answer to an operation. */
export interface IdempotentResult {
  /** The last answer. Its body has arrived in full, unless it is an event stream. */
  readonly response: Response;
  /** Whether this is the outcome of an earlier request with the same key. */
  readonly replayed: boolean;
  /**
   * Whether the operation is settled. If not, it may have been carried out, or may still be: ask again with the same
   * key. A key in `storage` is kept in that case.
   */
  readonly definitive: boolean;
  /** How often the request was sent. */
  readonly attempts: number;
  readonly key: string;
  /** What the answer says of itself, where it is a problem of the idempotency layer. */
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

/** The longest delay that a timer takes, in milliseconds; a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** @throws TypeError, RangeError for options that cannot be used, naming them */
export function resolveOptions(options: IdempotentFetchOptions): Settings {
  const { key, storage, operation, onRetry, header = 'Idempotency-Key', fetch = globalThis.fetch } = options;
  if (key === '') throw new TypeError('idempotentFetch: the option `key` is empty');
  if ((storage === undefined) !== (operation === undefined)) {
    throw new TypeError('idempotentFetch: the options `storage` and `operation` go together');
  }
  const numbers = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as NumericOption[]) {
    const value = options[name] ?? DEFAULTS[name];
    if (!(value >= 1 && value <= LONGEST_DELAY)) {
      throw new RangeError(`idempotentFetch: the option \`${name}\` must be a number from 1 to ${LONGEST_DELAY}`);
    }
    numbers[name] = value;
  }
  return { ...numbers, key, storage, operation, onRetry, header, fetch };
}
