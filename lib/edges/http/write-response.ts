import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { UnreadableRecordError } from '../../engine/errors.js';
import type { StoredOutcome } from '../../engine/outcome.js';
import type { IdempotencyProblem } from '../../problems/problem.js';
import { decodedFor } from '../content/content-coding.js';
import { type Headers, isOfExchange, restoreHead, unpackHead } from '../content/response-head.js';

export const REPLAYED_HEADER = 'Idempotent-Replayed';

/**
 * Resets the headers to what they were before the handler ran, except those that describe this exchange.
 *
 * @param keep one more header that is not reset, in lower case
 */
export function resetHeaders(response: ServerResponse, before: OutgoingHttpHeaders, keep?: string): void {
  const stays = (name: string) => response.hasHeader(name) && (name === keep || isOfExchange(name));
  for (const name of response.getHeaderNames()) if (!(name in before) && !stays(name)) response.removeHeader(name);
  for (const [name, value] of Object.entries(before)) {
    if (value !== undefined && !stays(name) && response.getHeader(name) !== value) response.setHeader(name, value);
  }
}

/** Sends a stored response as it was sent the first time. */
export function writeOutcome(response: ServerResponse, outcome: StoredOutcome): void {
  response.end(restoreOutcome(response, response, outcome));
}

/**
 * Sets status and headers of a stored response, and returns its body.
 *
 * @throws UnreadableRecordError before anything is set, because the problem must not be sent with half of the stored headers
 */
export function restoreOutcome(
  response: ServerResponse,
  headers: Headers,
  { code, head, body }: StoredOutcome,
  stored = unpackHead(head),
): Buffer | undefined {
  // Node sends no others, and informational ones (RFC 9110, section 15.2) are no outcome.
  if (!(code >= 200 && code <= 999)) {
    throw new UnreadableRecordError({ cause: new Error(`${code} is no status of a response`) });
  }
  response.statusCode = code;
  if (stored.statusMessage) response.statusMessage = stored.statusMessage;
  restoreHead(headers, stored);
  headers.setHeader(REPLAYED_HEADER, 'true');
  return body ? bodyFor(response.req, headers, body) : undefined;
}

/** Returns the stored body in a content coding that the client accepts. */
function bodyFor(request: IncomingMessage, headers: Headers, body: Buffer): Buffer {
  const coding = headers.getHeader('content-encoding');
  if (coding === undefined) return body;
  const decoded = decodedFor(request.headers['accept-encoding'], String(coding), body);
  if (!decoded) return body;
  headers.removeHeader('content-encoding');
  if (headers.getHeader('content-length') !== undefined) headers.setHeader('Content-Length', decoded.length);
  const etag = headers.getHeader('etag');
  // The decoded bytes are equivalent but not equal, which only a weak validator may say (RFC 9110, section 8.8.1).
  if (typeof etag === 'string' && !etag.startsWith('W/')) headers.setHeader('ETag', `W/${etag}`);
  return decoded;
}

/** Headers of the handler's `@Header()` that would make a problem unreadable, or a file that browsers save. */
const OF_HANDLERS_BODY = ['Content-Encoding', 'Content-Disposition', 'ETag'];

/** Sets the headers of a problem (RFC 9457). */
export function setProblemHeaders(
  { documentation, retryAfter }: IdempotencyProblem,
  headers: { setHeader(name: string, value: string): unknown; removeHeader(name: string): unknown },
): void {
  for (const name of OF_HANDLERS_BODY) headers.removeHeader(name);
  headers.setHeader('Content-Type', 'application/problem+json; charset=utf-8');
  if (retryAfter !== undefined) headers.setHeader('Retry-After', String(retryAfter));
  if (documentation) headers.setHeader('Link', `<${documentation}>; rel="describedby"`);
}

export function writeProblem(response: ServerResponse, problem: IdempotencyProblem): void {
  response.statusCode = problem.getStatus();
  setProblemHeaders(problem, response);
  const body = JSON.stringify(problem.getResponse());
  // After the length of another body was removed, node sends none by itself, and would close the connection.
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body);
}
