import { type OutgoingHttpHeader, type OutgoingHttpHeaders, type ServerResponse, validateHeaderValue } from 'node:http';

/** A response that was made, but has not gone out. */
export interface CapturedResponse {
  readonly status: number;
  /** `undefined` where the response cannot be kept: it is too large, or has no end in sight. */
  readonly body: Buffer | undefined;
}

type Done = (error?: Error | null) => void;

/**
 * Holds a response back at node's own `ServerResponse`, whatever the framework, filter or handler that makes it, until
 * its outcome is on record; then lets it go out, or puts another in its place.
 *
 * Middleware that wrapped the response before (such as compression) is called when it goes out, and so is not seen in
 * what is captured. Informational responses (early hints) tell nothing of an outcome, and pass. Trailers cannot be
 * replayed: a response that was held goes out without them.
 */
export class ResponseCapture {
  private mode: 'holding' | 'open' | 'muted' = 'holding';
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private ended = false;
  private begun = false;
  private told = false;
  private readonly callbacks: Done[] = [];
  private endless: NodeJS.Timeout | undefined;
  private readonly original: Pick<ServerResponse, 'write' | 'end' | 'writeHead' | 'flushHeaders'>;
  private unlock: (() => void) | undefined;

  /**
   * @param onResponse called once: when the response has ended, or turns out not to be kept
   * @param limits `maxBytes` of the body; `maxMs` from its first byte to its end
   */
  constructor(
    private readonly response: ServerResponse,
    private readonly limits: { readonly maxBytes: number; readonly maxMs: number },
    private readonly onResponse: (captured: CapturedResponse) => void,
  ) {
    // oxlint-disable-next-line typescript/unbound-method -- called on the response
    const { write, end, writeHead, flushHeaders } = response;
    this.original = { write, end, writeHead, flushHeaders };
    this.intercept();
  }

  /** Whether anything of a response was made. */
  get hasResponse(): boolean {
    return this.begun;
  }

  /** Lets the response go out: what was held, and what is still to come. */
  release(): void {
    if (this.mode !== 'holding') return;
    this.open();
    const { response, original } = this;
    if (this.ended) {
      // All of it is known by now, so that its length is told in place of chunks; a replay looks the same.
      response.removeHeader('Transfer-Encoding');
      response.removeHeader('Trailer');
      if (this.callbacks.length) response.once('finish', () => this.callBack());
      original.end.call(response, Buffer.concat(this.chunks), 'utf8');
    } else if (this.begun) {
      if (this.chunks.length) original.write.call(response, Buffer.concat(this.chunks), 'utf8');
      else original.flushHeaders.call(response);
      this.callBack();
      response.emit('drain');
    }
    this.chunks.length = 0;
  }

  /**
   * Writes another response by `write`, in place of what was held. Whatever the pipeline does to the response from then
   * on has no effect.
   */
  replace(write: (response: ServerResponse) => void): void {
    if (this.mode !== 'holding') return;
    this.open();
    this.chunks.length = 0;
    write(this.response);
    mute(this.response);
    this.mode = 'muted';
    this.callBack();
  }

  private intercept(): void {
    const { response } = this;
    response.writeHead = ((status: number, ...rest: unknown[]) => {
      if (this.mode !== 'holding') return this.original.writeHead.apply(response, [status, ...rest] as never);
      applyHead(response, status, rest);
      return response;
    }) as ServerResponse['writeHead'];
    response.flushHeaders = () => {
      if (this.mode !== 'holding') return this.original.flushHeaders.call(response);
      this.begin();
    };
    response.write = ((...args: unknown[]) => {
      if (this.mode !== 'holding') return this.original.write.apply(response, args as never);
      checkChunk(args[0]);
      if (this.ended) return false;
      checkHead(response);
      this.begin();
      this.hold(args);
      return this.size <= this.limits.maxBytes;
    }) as ServerResponse['write'];
    response.end = ((...args: unknown[]) => {
      if (this.mode !== 'holding') return this.original.end.apply(response, args as never);
      if (this.ended) return response;
      checkChunk(args[0]);
      checkHead(response);
      this.ended = true;
      if (!this.begun) this.pretendSent();
      this.begun = true;
      this.hold(args);
      this.tell();
      return response;
    }) as ServerResponse['end'];
  }

  private begin(): void {
    if (this.begun) return;
    this.begun = true;
    this.pretendSent();
    if (isEventStream(this.response)) return this.tellUnkept();
    this.endless = setTimeout(() => this.tellUnkept(), this.limits.maxMs);
    this.endless.unref();
  }

  private hold([chunk, encoding, callback]: unknown[]): void {
    if (typeof chunk === 'function') callback = chunk;
    else if (typeof encoding === 'function') callback = encoding;
    if (typeof chunk === 'string') {
      this.keep(Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8'));
    } else if (chunk instanceof Uint8Array) {
      // The writer of one chunk of many may use its memory again once its callback was called.
      this.keep(this.ended ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.from(chunk));
    }
    if (typeof callback === 'function') this.callbacks.push(callback as Done);
    // A writer that waits for each chunk to be taken must go on, as nothing goes out before the end.
    if (!this.told && !this.ended && this.callbacks.length) queueMicrotask(() => this.callBack());
  }

  private keep(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.size += chunk.length;
    if (this.size > this.limits.maxBytes) this.tellUnkept();
  }

  private tell(): void {
    if (this.told) return;
    this.told = true;
    clearTimeout(this.endless);
    this.onResponse({ status: this.response.statusCode, body: Buffer.concat(this.chunks) });
  }

  private tellUnkept(): void {
    if (this.told) return;
    this.told = true;
    clearTimeout(this.endless);
    this.onResponse({ status: this.response.statusCode, body: undefined });
  }

  private callBack(): void {
    for (const done of this.callbacks.splice(0)) done();
  }

  /** Frameworks ask these before they send: what is held has been sent, as far as they are concerned. */
  private pretendSent(): void {
    Object.defineProperty(this.response, 'headersSent', { configurable: true, get: () => true });
    Object.defineProperty(this.response, 'writableEnded', { configurable: true, get: () => this.ended });
    this.unlock = lockHead(this.response);
  }

  private open(): void {
    this.mode = 'open';
    clearTimeout(this.endless);
    const own = this.response as unknown as Record<string, unknown>;
    delete own.headersSent;
    delete own.writableEnded;
    this.unlock?.();
  }
}

/** Makes everything that would still write to a response a no-op. */
export function mute(response: ServerResponse): void {
  const nothing = () => response;
  const muted = {
    writeHead: nothing,
    flushHeaders: () => undefined,
    write: (...args: unknown[]) => (settle(args), true),
    end: (...args: unknown[]) => (settle(args), response),
    setHeader: nothing,
    setHeaders: nothing,
    appendHeader: nothing,
    removeHeader: () => undefined,
    addTrailers: () => undefined,
    writeContinue: () => undefined,
    writeProcessing: () => undefined,
    writeEarlyHints: () => undefined,
  };
  const open = pick(response, Object.keys(muted));
  const { statusCode } = response;
  Object.assign(response, muted, {
    // Middleware may still have to send what it was given, as sessions do once they are saved.
    _implicitHeader: () => {
      Object.assign(response, open);
      response.writeHead(statusCode);
      Object.assign(response, muted);
    },
  });
}

/**
 * From here on the head is what it is, as if it had been sent: node refuses changes of headers then, and does not hear of
 * another status.
 */
function lockHead(response: ServerResponse): () => void {
  const { statusCode, statusMessage } = response;
  const open = pick(response, ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader']);
  const refuse = () => {
    throw Object.assign(new Error('Cannot change headers after they are sent to the client'), {
      code: 'ERR_HTTP_HEADERS_SENT',
    });
  };
  for (const name of Object.keys(open)) Object.assign(response, { [name]: refuse });
  return () => Object.assign(response, open, { statusCode, statusMessage });
}

function pick(response: ServerResponse, names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [name, response[name as keyof ServerResponse]]));
}

/** As node does at once, so that the handler or its filters hear of it. */
function checkChunk(chunk: unknown): void {
  if (chunk === undefined || chunk === null || typeof chunk === 'function') return;
  if (typeof chunk === 'string' || chunk instanceof Uint8Array) return;
  const message = 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array.';
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' });
}

function checkHead({ statusCode, statusMessage }: ServerResponse): void {
  if (!(statusCode >= 100 && statusCode <= 999)) {
    throw Object.assign(new RangeError(`Invalid status code: ${String(statusCode)}`), {
      code: 'ERR_HTTP_INVALID_STATUS_CODE',
    });
  }
  if (statusMessage) validateHeaderValue('statusMessage', statusMessage);
}

function settle(args: readonly unknown[]): void {
  const callback = args.find((arg) => typeof arg === 'function') as Done | undefined;
  if (callback) queueMicrotask(callback);
}

/** `writeHead(status, message?, headers?)`, where headers are an object, or names and values in turn. */
function applyHead(response: ServerResponse, status: number, rest: readonly unknown[]): void {
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
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (value !== undefined) response.setHeader(name, value);
  }
}

function isEventStream(response: ServerResponse): boolean {
  return String(response.getHeader('content-type') ?? '').startsWith('text/event-stream');
}
