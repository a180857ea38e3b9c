import { type OutgoingHttpHeader, type OutgoingHttpHeaders, type ServerResponse, validateHeaderValue } from 'node:http';

/** The last argument of node's `write()` and `end()`. */
export type WriteCallback = (error?: Error | null) => void;

/** Returns the callback among the arguments of a write, wherever it stands. */
export function callbackOf(args: readonly unknown[]): WriteCallback | undefined {
  return args.find((arg) => typeof arg === 'function') as WriteCallback | undefined;
}

/** Calls the callback among the arguments of a write that node does not get. Without it, the writer would wait forever. */
export function callBack(args: readonly unknown[]): void {
  const callback = callbackOf(args);
  if (callback) queueMicrotask(callback);
}

/** Returns the bytes that a write adds to the body. They are copied, because a writer may reuse its memory after `write()`. */
export function bytesOf([chunk, encoding]: readonly unknown[]): Buffer | undefined {
  if (typeof chunk === 'string') {
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8');
  }
  return chunk instanceof Uint8Array ? Buffer.from(chunk) : undefined;
}

/**
 * Checks a chunk when it is written. At the commit, node's own error could no longer reach the handler or its filters.
 *
 * @throws TypeError with node's code `ERR_INVALID_ARG_TYPE`
 */
export function checkChunk(chunk: unknown): void {
  if (chunk === undefined || chunk === null || typeof chunk === 'function') return;
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return;
  const message = 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array.';
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** Like {@link checkChunk}, for the status line: a status that node refuses must not be stored. */
export function checkHead({ statusCode, statusMessage }: ServerResponse): void {
  if (!(statusCode >= 100 && statusCode <= 999)) {
    throw Object.assign(new RangeError(`Invalid status code: ${String(statusCode)}`), {
      code: 'ERR_HTTP_INVALID_STATUS_CODE',
    });
  }
  if (statusMessage) validateHeaderValue('statusMessage', statusMessage);
}

/**
 * Applies the arguments of `writeHead(status, message?, headers?)` to the response, so that they are captured.
 *
 * @param rest message and headers: an object, or an array of alternating names and values
 */
export function applyHead(response: ServerResponse, status: number, rest: readonly unknown[]): void {
  response.statusCode = status;
  const [first] = rest;
  if (typeof first === 'string') response.statusMessage = first;
  const headers = (typeof first === 'string' ? rest[1] : first) as
    OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined;
  if (Array.isArray(headers)) {
    const names = new Set<string>();
    for (let i = 0; i < headers.length; i += 2) {
      const name = String(headers[i]);
      const value = headers[i + 1] as string;
      if (names.has(name.toLowerCase())) response.appendHeader(name, value);
      else response.setHeader(name, value);
      names.add(name.toLowerCase());
    }
    return;
  }
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) response.setHeader(name, value);
  }
}
