import { HttpException } from '@nestjs/common';

/** The problems that the library answers with, and their HTTP status. */
export const PROBLEM_STATUS = {
  'key-missing': 400,
  'key-invalid': 400,
  'key-reused': 422,
  'key-foreign': 422,
  'in-progress': 409,
  'outcome-unknown': 409,
  'replay-unavailable': 409,
  'outcome-not-recorded': 503,
  'store-unavailable': 503,
  'record-unreadable': 500,
} as const;

/** Which kind of problem it is: stable, for clients to look at. */
export type ProblemCode = keyof typeof PROBLEM_STATUS;

/** Problem details (RFC 9457), with two members of our own. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ProblemCode;
  /** Whether the same request may be sent again, after `Retry-After` where there is one. */
  readonly retryable: boolean;
}

/** How one problem differs from others of its kind. */
export interface ProblemOptions extends ErrorOptions {
  /** Takes the place of the problem's usual explanation. Shown to the client. */
  readonly detail?: string;
  /** Seconds, for the `Retry-After` header. */
  readonly retryAfter?: number;
  /** URL of the application's documentation. */
  readonly documentation?: string;
}

interface ProblemKind {
  readonly code: ProblemCode;
  readonly title: string;
  readonly detail: string;
  readonly retryable: boolean;
}

/**
 * A request that idempotency refuses. Sent as `application/problem+json`.
 *
 * To answer in another form, catch this class, or one below it, in an exception filter of your own.
 */
export abstract class IdempotencyProblem extends HttpException {
  readonly code: ProblemCode;
  readonly retryable: boolean;
  /** Seconds, or undefined where waiting does not help. */
  readonly retryAfter: number | undefined;
  readonly documentation: string | undefined;

  /** @internal */
  protected constructor(kind: ProblemKind, options: ProblemOptions = {}) {
    const { code, title, retryable } = kind;
    const status = PROBLEM_STATUS[code];
    const detail = options.detail ?? kind.detail;
    const type = options.documentation ? `${options.documentation}#${code}` : `urn:nestjs-idempotency:problem:${code}`;
    super({ type, title, status, detail, code, retryable } satisfies ProblemDocument, status, { cause: options.cause });
    this.message = detail;
    this.code = code;
    this.retryable = retryable;
    this.retryAfter = options.retryAfter;
    this.documentation = options.documentation;
  }

  /** The problem details, as they are sent. */
  override getResponse(): ProblemDocument {
    return super.getResponse() as ProblemDocument;
  }

  /** What GraphQL servers show of an error beside its message. */
  get extensions(): ProblemDocument & { readonly retryAfter?: number } {
    return { ...this.getResponse(), ...(this.retryAfter !== undefined && { retryAfter: this.retryAfter }) };
  }
}
