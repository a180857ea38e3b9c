import { type IdempotencyProblemDocument, problemIn } from './problem.js';

/** An answer, and what it says of the operation. */
export interface Answer {
  readonly response: Response;
  readonly replayed: boolean;
  readonly problem: IdempotencyProblemDocument | undefined;
}

/** Passing by their nature: a limit, or something on the way. Not 500, with which an application's own code fails. */
const PASSING = new Set([408, 425, 429, 502, 503, 504]);

/** Refused before the operation was asked for: nothing is said of what earlier attempts did. */
const AT_THE_DOOR = new Set([401, 403, 407]);

/** Problems that say that nothing was done, and nothing will be. */
const NEVER_BEGAN = new Set(['key-missing', 'key-invalid']);

/** Problems after which the operation may have been carried out, or was. */
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
 * Reads the answer to its end, as an outcome that does not arrive is none; leaves the response's own body unread. An
 * event stream has no end to wait for.
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

/** Whether the same request should be sent again. */
export function isRetryable({ response, replayed, problem }: Answer): boolean {
  if (replayed) return false;
  if (problem) return problem.retryable;
  // A conflict that says when to come again is a request that is still running (draft-ietf-httpapi-idempotency-key-header).
  return PASSING.has(response.status) || (response.status === 409 && response.headers.has('retry-after'));
}

/** Whether the operation is settled, so that its key has served its purpose. */
export function isDefinitive(answer: Answer): boolean {
  const { response, replayed, problem } = answer;
  if (replayed) return true;
  if (problem && NEVER_BEGAN.has(problem.code)) return true;
  if (problem && UNSETTLED.has(problem.code)) return false;
  return response.status < 500 && !AT_THE_DOOR.has(response.status) && !isRetryable(answer);
}
