import { type IdempotencyProblemDocument, problemIn } from './problem.js';

/** A response, and what it says of the operation. */
export interface Answer {
  readonly response: Response;
  readonly replayed: boolean;
  readonly problem: IdempotencyProblemDocument | undefined;
}

/**
 * Statuses of limits and intermediaries, after which a retry may succeed. From 520, they are Cloudflare's for a server that it cannot reach,
 * or that does not answer. Not 500, which is a failure of the application itself.
 */
const PASSING = new Set([408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524]);

/** Statuses of a refusal before the operation. They say nothing of earlier attempts. */
const AT_THE_DOOR = new Set([401, 403, 407]);

/**
 * Statuses of a gateway that has no route to the application just now, as during a deployment. After an attempt that may have run, they say
 * nothing of it. An outcome of the application with such a status is a replay by then.
 */
const NO_ROUTE = new Set([404, 405]);

/** Problems of a key that was not looked up. They say nothing of earlier attempts: another proxy or release may have let those in. */
const NEVER_BEGAN = new Set(['key-missing', 'key-invalid']);

/** Problems after which the operation may have run, or has run. */
const UNSETTLED = new Set([
  'key-reused',
  'key-foreign',
  'in-progress',
  'outcome-unknown',
  'replay-unavailable',
  'outcome-not-recorded',
  'store-unavailable',
  'record-unreadable',
]);

/**
 * Reads a copy of the body to its end, because a response that breaks off has to be retried. An event stream has no end to wait for.
 */
export async function readAnswer(response: Response): Promise<Answer> {
  const replayed = response.headers.get('idempotent-replayed') === 'true';
  if (isEventStream(response)) return { response, replayed, problem: undefined };
  const body = await response.clone().arrayBuffer();
  return { response, replayed, problem: replayed ? undefined : problemIn(response, body) };
}

export function isEventStream(response: Response): boolean {
  return response.headers.get('content-type')?.startsWith('text/event-stream') ?? false;
}

/**
 * Returns whether to send the same request again.
 *
 * @param mayHaveRun whether an earlier request had this key
 */
export function isRetryable({ response, replayed, problem }: Answer, mayHaveRun: boolean): boolean {
  if (replayed) return false;
  if (problem) return problem.retryable;
  if ((mayHaveRun || response.redirected) && NO_ROUTE.has(response.status)) return true;
  // A conflict with Retry-After is a request that still runs (draft-ietf-httpapi-idempotency-key-header-07, section 2.7).
  return PASSING.has(response.status) || (response.status === 409 && response.headers.has('retry-after'));
}

/**
 * Returns whether the outcome of the operation is known, so that its key is no longer needed.
 *
 * @param mayHaveRun whether an earlier request had this key
 */
export function isDefinitive(answer: Answer, mayHaveRun: boolean): boolean {
  const { response, replayed, problem } = answer;
  if (replayed) return true;
  // With `redirect: 'manual'`, a redirect may lead to a login page. A browser does not tell where it leads, nor whether it is a replay.
  if (response.type === 'opaqueredirect') return false;
  if (mayHaveRun && response.status >= 300 && response.status < 400) return false;
  // The operation has answered with a redirect, and this is the answer of the page that it leads to, which a replica may not have yet.
  if (response.redirected && response.status >= 400) return false;
  if (problem && NEVER_BEGAN.has(problem.code)) return !mayHaveRun;
  if (problem && UNSETTLED.has(problem.code)) return false;
  return response.status < 500 && !AT_THE_DOOR.has(response.status) && !isRetryable(answer, mayHaveRun);
}
