/** A refusal of the idempotency layer: problem details (RFC 9457), with the extension members `code` and `retryable`. */
export interface IdempotencyProblemDocument {
  /** A URI that identifies the kind of problem. */
  readonly type?: string;
  /** A summary that is the same for all problems of a kind. */
  readonly title?: string;
  /** The HTTP status. */
  readonly status?: number;
  /** What is wrong with this request, for people. */
  readonly detail?: string;
  /** Such as `in-progress`, `key-reused` or `outcome-unknown`. */
  readonly code: string;
  /** Whether the same request may be sent again. */
  readonly retryable: boolean;
}

/** Returns the problem in a response, if it has one. */
export function problemIn(response: Response, body: ArrayBuffer): IdempotencyProblemDocument | undefined {
  if (response.status < 400 || !response.headers.get('content-type')?.includes('json')) return undefined;
  try {
    const problem = JSON.parse(new TextDecoder().decode(body)) as Partial<IdempotencyProblemDocument> | null;
    const isOne = typeof problem?.code === 'string' && typeof problem.retryable === 'boolean';
    return isOne ? (problem as IdempotencyProblemDocument) : undefined;
  } catch {
    return undefined;
  }
}
