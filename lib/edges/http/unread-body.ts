import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Exchange } from './exchange.js';
import { peekBody } from './peek-body.js';

/** How much of an unread body tells it from another. What comes after is known by the length of the whole alone. */
const PEEK = 1_024 * 1_024;

/** The longest delimiter of multipart bodies: two dashes and 70 characters (RFC 2046, section 5.1.1). */
const LONGEST_DELIMITER = 72;

/** The body of a request, where it is still to be read: by the handler itself, or by an interceptor within ours. */
export function unreadBodyOf({ request, rawRequest }: Exchange): Readable | undefined {
  const { 'transfer-encoding': encoding, 'content-length': length } = request.headers;
  if (encoding === undefined && !(Number(length) > 0)) return undefined;
  // A parser of Fastify may hand the stream itself on, or one that it comes out of decompressed.
  const stream = request.body instanceof Readable ? request.body : rawRequest;
  return stream.readableDidRead || stream.readableEnded || stream.readableFlowing ? undefined : stream;
}

/** A digest of a body that is still to be read, and stays so. */
export async function digestUnread(stream: Readable, { request, rawResponse }: Exchange): Promise<string> {
  const { headers } = request;
  const { bytes, whole } = await peekBody(stream, PEEK + LONGEST_DELIMITER);
  // Node lets go of a body that nobody wanted by itself only if nobody has looked at it.
  rawResponse.once('finish', () => isWanted(stream) || stream.resume());
  const hash = createHash('sha256');
  for (const part of partsOf(bytes, whole ? bytes.length : PEEK, headers['content-type'])) hash.update(part);
  if (!whole) hash.update(`\n${headers['content-length'] ?? ''}`);
  return hash.digest('base64');
}

/** Up to `end`, with a constant in place of the delimiters of multipart, which are new on every attempt. */
function* partsOf(bytes: Buffer, end: number, contentType = ''): Generator<Uint8Array | string> {
  const boundary = /^multipart\/.*;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  const delimiter = boundary ? Buffer.from(`--${boundary[1] ?? boundary[2]}`, 'latin1') : undefined;
  let from = 0;
  for (;;) {
    const at = delimiter ? bytes.indexOf(delimiter, from) : -1;
    if (at < 0 || at >= end) break;
    yield bytes.subarray(from, at);
    yield '\0--';
    from = at + delimiter!.length;
  }
  if (from < end) yield bytes.subarray(from, end);
}

function isWanted(stream: Readable): boolean {
  return stream.readableEnded || stream.listenerCount('data') + stream.listenerCount('readable') > 0;
}
