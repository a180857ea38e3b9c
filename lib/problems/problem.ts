import { HttpException } from '@nestjs/common';

/** The kind of a problem. Stable, so that clients may compare it. */
export type ProblemCode =
  | 'key-missing'
  | 'key-invalid'
  | 'key-reused'
  | 'key-foreign'
  | 'in-progress'
  | 'outcome-unknown'
  | 'replay-unavailable'
  | 'outcome-not-recorded'
  | 'store-unavailable'
  | 'record-unreadable';

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** In seconds, for the kinds that are retryable. */
  readonly retryAfter?: number;
}

/** The problems that the library answers with. */
export const PROBLEMS: Readonly<Record<ProblemCode, ProblemKind>> = {
  'key-missing': {
    status: 400,
    title: 'Idempotency key is missing',
    detail: 'This operation requires an idempotency key.',
  },
  'key-invalid': {
    status: 400,
    title: 'Idempotency key is invalid',
    detail: 'The idempotency key is malformed.',
  },
  'key-reused': {
    status: 422,
    title: 'Idempotency key is already used',
    detail: 'This idempotency key was used with another request. Use a new key for a new operation.',
  },
  'key-foreign': {
    status: 422,
    title: 'Idempotency key is already used',
    detail: 'This idempotency key was used with other credentials.',
  },
  'in-progress': {
    status: 409,
    title: 'A request is outstanding for this idempotency key',
    detail: 'A request with this idempotency key is being processed. Try again later.',
    retryAfter: 1,
  },
  'outcome-unknown': {
    status: 409,
    title: 'The outcome of this operation is unknown',
    detail: 'An earlier request with this idempotency key did not finish. Its outcome has to be looked into.',
  },
  'replay-unavailable': {
    status: 409,
    title: 'The response cannot be replayed',
    detail: 'The operation was carried out, but its response was not kept.',
  },
  'outcome-not-recorded': {
    status: 503,
    title: 'The outcome could not be recorded',
    detail: 'The operation ran, but its outcome could not be recorded. Try again with the same idempotency key.',
    retryAfter: 5,
  },
  'store-unavailable': {
    status: 503,
    title: 'Idempotency cannot be guaranteed at the moment',
    detail: 'The operation was not carried out. Try again with the same idempotency key.',
    retryAfter: 1,
  },
  'record-unreadable': {
    status: 500,
    title: 'The outcome on record cannot be read',
    detail: 'The operation has an outcome on record, but it cannot be read.',
  },
};

/** Problem details (RFC 9457, section 3), with the extension members `code` and `retryable`. */
export interface ProblemDocument {
  /** A URI that identifies the kind: a heading of the option `documentation`, or `urn:nestjs-idempotency:problem:<code>`. */
  readonly type: string;
  /** A summary that is the same for all problems of a kind. */
  readonly title: string;
  /** The HTTP status. */
  readonly status: number;
  /** What is wrong with this request, for people. */
  readonly detail: string;
  readonly code: ProblemCode;
  /** Whether the client may send the same request again, after `Retry-After` where the response has one. */
  readonly retryable: boolean;
}

/** What differs between problems of one kind. */
export interface ProblemOptions extends ErrorOptions {
  /** Replaces the problem's default explanation. The client sees it. */
  readonly detail?: string;
  /** The `Retry-After` header, in seconds. Default: 1 or 5 for the kinds that are retryable, and otherwise none. */
  readonly retryAfter?: number;
  /** URL of the application's documentation of idempotency. Default: none. */
  readonly documentation?: string;
}

/**
 * A request that idempotency refuses. Sent as `application/problem+json` (RFC 9457).
 *
 * To answer in another form, catch this class or a subclass in an exception filter.
 *
 * @example
 * ```ts
 * @Catch(IdempotencyProblem)
 * export class ProblemFilter implements ExceptionFilter<IdempotencyProblem> { ... }
 * ```
 */
export abstract class IdempotencyProblem extends HttpException {
  /** Whether the client may send the same request again. */
  readonly retryable: boolean;
  /** In seconds; undefined where waiting does not help. */
  readonly retryAfter: number | undefined;
  /** The option `documentation`. */
  readonly documentation: string | undefined;

  /** @internal */
  protected constructor(
    readonly code: ProblemCode,
    options: ProblemOptions = {},
  ) {
    const kind = PROBLEMS[code];
    const { status, title } = kind;
    const retryable = kind.retryAfter !== undefined;
    const { documentation, detail = kind.detail, retryAfter = kind.retryAfter, cause } = options;
    const type = documentation ? `${documentation}#${code}` : `urn:nestjs-idempotency:problem:${code}`;
    super({ type, title, status, detail, code, retryable } satisfies ProblemDocument, status, { cause });
    this.message = detail;
    this.retryable = retryable;
    this.retryAfter = retryAfter;
    this.documentation = documentation;
  }

  /** Returns the problem details that the client gets. */
  override getResponse(): ProblemDocument {
    return super.getResponse() as ProblemDocument;
  }

  /** The members that GraphQL servers add to an error's message. */
  get extensions(): ProblemDocument & { readonly retryAfter?: number } {
    return { ...this.getResponse(), ...(this.retryAfter !== undefined && { retryAfter: this.retryAfter }) };
  }
}
