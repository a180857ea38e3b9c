import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { IdempotencyProblem } from '../../problems/problem.js';
import { decodedFor } from './content-coding.js';
import { unpackHead } from './response-head.js';

export const REPLAYED_HEADER = 'Idempotent-Replayed';

/** Sets the response's headers back to what they were before the handler ran. */
export function resetHeaders(response: ServerResponse, before: OutgoingHttpHeaders): void {
  for (const name of response.getHeaderNames()) if (!(name in before)) response.removeHeader(name);
  for (const [name, value] of Object.entries(before)) {
    if (value !== undefined && response.getHeader(name) !== value) response.setHeader(name, value);
  }
}

/** Writes a stored response: what went over the wire the first time. */
export function writeOutcome(response: ServerResponse, outcome: StoredOutcome): void {
  const { headers, removed = [], statusMessage } = unpackHead(outcome.head);
  response.statusCode = outcome.code;
  if (statusMessage) response.statusMessage = statusMessage;
  for (const name of removed) response.removeHeader(name);
  for (const [name, value] of headers) response.setHeader(name, value);
  response.setHeader(REPLAYED_HEADER, 'true');
  response.end(bodyFor(response, outcome) ?? undefined);
}

/** The stored body, in a coding that the client accepts. */
function bodyFor(response: ServerResponse, { body }: StoredOutcome): Buffer | null {
  const coding = response.getHeader('content-encoding');
  if (!body || coding === undefined) return body;
  const decoded = decodedFor(String(response.req.headers['accept-encoding'] ?? ''), String(coding), body);
  if (!decoded) return body;
  response.removeHeader('content-encoding');
  if (response.hasHeader('content-length')) response.setHeader('Content-Length', decoded.length);
  const etag = response.getHeader('etag');
  // It names other bytes of the same meaning.
  if (typeof etag === 'string' && !etag.startsWith('W/')) response.setHeader('ETag', `W/${etag}`);
  return decoded;
}

/** A problem as it is sent: the same on both platforms. */
export function problemHeaders(problem: IdempotencyProblem): Record<string, string> {
  return {
    'Content-Type': 'application/problem+json; charset=utf-8',
    ...(problem.retryAfter === undefined ? {} : { 'Retry-After': String(problem.retryAfter) }),
    ...(problem.documentation ? { Link: `<${problem.documentation}>; rel="describedby"` } : {}),
  };
}

export function writeProblem(response: ServerResponse, problem: IdempotencyProblem): void {
  response.statusCode = problem.getStatus();
  for (const [name, value] of Object.entries(problemHeaders(problem))) response.setHeader(name, value);
  response.end(JSON.stringify(problem.getResponse()));
}
