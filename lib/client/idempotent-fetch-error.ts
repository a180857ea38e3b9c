/**
 * The last attempt got no response. Whether the operation ran is unknown: call again with the same key. `cause` is the error of the last
 * attempt.
 */
export class IdempotentFetchError extends Error {
  override readonly name = 'IdempotentFetchError';
  /** The operation's key. */
  readonly key: string;
  /** How often the client sent the request. */
  readonly attempts: number;

  constructor(message: string, options: { readonly key: string; readonly attempts: number; readonly cause: unknown }) {
    super(message, { cause: options.cause });
    this.key = options.key;
    this.attempts = options.attempts;
  }
}
