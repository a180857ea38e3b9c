import type { ServerResponse } from 'node:http';

/** Returns whether a value is a `Response` as of `fetch()`, which Nest 12 sends as it is. */
export function isWebResponse(value: unknown): value is Response {
  return Object.prototype.toString.call(value) === '[object Response]';
}

/**
 * Writes a web Response to node's. Nest does so only while the client is there. Its body is read no further once `to` cannot store it.
 *
 * @throws what reading the body throws
 */
export async function writeWebResponse(
  { status, headers, body, type }: Response,
  to: ServerResponse & { set?(name: string, value: string): unknown },
): Promise<void> {
  // `fetch()` has decoded the body, and left the headers of what came.
  const isDecoded = type !== 'default' && headers.has('content-encoding');
  to.statusCode = status;
  for (const [name, value] of headers) {
    if (isDecoded && /^content-(?:encoding|length)$/.test(name)) continue;
    // Express completes the type.
    if (to.set) to.set(name, value);
    else to.setHeader(name, value);
  }
  for await (const chunk of body ?? []) if (!to.write(chunk)) return;
  to.end();
}
