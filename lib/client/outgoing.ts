/** The first argument of `fetch`. */
export type FetchInput = string | URL | Request;

/** A request that can be sent any number of times, with the same bytes. */
export interface Outgoing {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly signal: AbortSignal | undefined;
  send(fetch: typeof globalThis.fetch, signal: AbortSignal): Promise<Response>;
}

/**
 * Encodes the body once. A form has another boundary at each encoding, so that a retry would have another fingerprint.
 *
 * @throws TypeError for what `fetch` itself would refuse, and for a stream
 */
export async function prepare(input: FetchInput, init: RequestInit): Promise<Outgoing> {
  if (isStream(init.body)) {
    throw new TypeError(
      'idempotentFetch: a stream can be sent only once, and so not again after a lost connection. Read it first, for ' +
        'instance by `await new Response(stream).blob()`.',
    );
  }
  const request = new Request(input, init);
  if (request.mode === 'no-cors') {
    throw new TypeError("idempotentFetch: browsers drop the key's header in the mode `no-cors`");
  }
  const { method, url } = request;
  const headers = new Headers(request.headers);
  const signal = init.signal ?? (input instanceof Request ? input.signal : undefined);
  const content = await request.blob();
  const body = content.size > 0 ? content : undefined;
  const details = input instanceof Request ? detailsOf(input) : {};
  return {
    method,
    url,
    headers,
    signal,
    send: (fetch, attempt) => fetch(url, { ...details, ...init, method, headers, body, signal: attempt }),
  };
}

function isStream(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false;
  return 'getReader' in body || Symbol.asyncIterator in body;
}

/** Returns the settings of a Request besides method, headers and body. */
function detailsOf(request: Request): RequestInit {
  const { credentials, cache, redirect, referrer, referrerPolicy, integrity, keepalive } = request;
  // That of a service worker's request for a page, which only the browser may make. `new Request()` replaces it in the same way.
  const mode = request.mode === 'navigate' ? 'same-origin' : request.mode;
  return { mode, credentials, cache, redirect, referrer, referrerPolicy, integrity, keepalive } as RequestInit;
}
