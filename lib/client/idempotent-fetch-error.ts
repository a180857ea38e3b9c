/**
 * No attempt at an operation was answered. Whether it was carried out is unknown: ask again with the same key. `cause`
 * is what the last attempt failed with.
 */
export class IdempotentFetchError extends Error {
  override readonly name = 'IdempotentFetchError';
  /** The operation's key. */
  readonly key: string;
  /** How often the request was sent. */
  readonly attempts: number;

  constructor(message: string, options: { readonly key: string; readonly attempts: number; readonly cause: unknown }) {
    super(message, { cause: options.cause });
    this.key = options.key;
    this.attempts = options.attempts;
  }
}
