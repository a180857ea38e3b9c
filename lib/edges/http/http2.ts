import type { ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';

/** A response over HTTP/2 lacks some properties of others. The stream below it has them. */
type AnyResponse = Partial<Pick<ServerResponse, 'closed' | 'destroyed'>> & { readonly stream?: ServerHttp2Stream };

/** Whether a response is closed: it was sent, or its client has disconnected. */
export function isClosed({ closed, stream }: AnyResponse): boolean {
  return closed ?? stream?.closed ?? false;
}

/** Whether a response is closed, or its writer has destroyed it. */
export function isDestroyed({ destroyed, stream }: AnyResponse): boolean {
  return destroyed ?? stream?.destroyed ?? false;
}

/**
 * Closes the stream of a response over HTTP/2 as one that has failed. `destroy()` closes it with NO_ERROR, and clients would take what
 * they have for the whole response.
 *
 * @returns `false` if the response is sent over HTTP/1
 */
export function failStream({ stream }: AnyResponse): boolean {
  stream?.close(constants.NGHTTP2_INTERNAL_ERROR);
  return stream !== undefined;
}
