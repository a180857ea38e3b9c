import { type OutgoingHttpHeader, type OutgoingHttpHeaders, type ServerResponse, validateHeaderValue } from 'node:http';
import { type ResponseInterceptor, type WriteHandler, interceptorOf, discardWrites } from './response-interceptor.js';
import { ResponseStream, streamedTypeOf, type StreamEnd } from './response-stream.js';

/** A response that is complete, but has not been sent. */
export interface CapturedResponse {
  readonly status: number;
  /** `undefined` where the response cannot be stored: it is too large, or does not end in time. */
  readonly body: Buffer | undefined;
  /** Whether it is to be sent as it is written: see {@link ResponseCapture.stream}. */
  readonly isStreamed?: boolean;
}

/** How much of a response is held back. */
export interface CaptureLimits {
  /** The most bytes of the body that are held. */
  readonly maxBytes: number;
  /** Whether the response is sent as it is written. `undefined`: if its head says that it is a stream, after a second. */
  readonly stream?: boolean | undefined;
}

export interface CaptureListener {
  /** Called once: when the response has ended, or when it turns out that it cannot be stored. */
  onResponse(captured: CapturedResponse): void;
  /** Called where the head says that the response is a stream, and {@link CaptureLimits.stream} is not set. */
  onUndecided(): void;
}

/** A response that is flushed, or has the type of a stream, is stored like any other if it ends within this time. */
const UNDECIDED_HOLD_MS = 1_000;

type Done = (error?: Error | null) => void;

/**
 * Holds a response back at node's own `ServerResponse`, whatever writes it: framework, filter or handler. When its outcome is
 * committed, the response is sent, or another one in its place.
 *
 * Middleware that has wrapped the response before, such as compression, runs when the response is sent. So the capture has the response
 * without what that middleware does. Informational responses (early hints) are no outcome, and are sent at once. Trailers cannot be
 * replayed: a response that was held is sent without them.
 *
 * - `'holding'`: nothing is sent. The listener is called once, when the response has ended or cannot be stored.
 * - `'streaming'`: the response is sent as it is written, except its end. Entered by `stream()`.
 * - `'open'`: everything passes, and the capture is over. Entered by `release()`, `replace()`, `discard()` and `breakOff()`.
 */
type Phase = 'holding' | 'streaming' | 'open';

export class ResponseCapture implements WriteHandler {
  private phase: Phase = 'holding';
  private chunks: Buffer[] | undefined;
  private held = 0;
  /** Whether the writer has begun the response, and ended it. */
  private begun = false;
  private ended = false;
  /** Whether the listener was called. */
  private reported = false;
  private callbacks: Done[] | undefined;
  private endless: NodeJS.Timeout | undefined;
  private readonly interceptor: ResponseInterceptor;
  /** How many listeners waited for 'finish' before the handler began: loggers, and the platform. */
  private readonly listenersBefore: number;
  /** The status line, as it was when the writer believed that the head was sent. */
  private head: Pick<ServerResponse, 'statusCode' | 'statusMessage'> | undefined;
  /** Where `response.stream` is set, the client is watched from the beginning. */
  private readonly chosen: ResponseStream | undefined;
  private streaming: ResponseStream | undefined;

  /** @param maxMs how long a response is held from its first byte to its end, in milliseconds */
  constructor(
    private readonly response: ServerResponse,
    private readonly limits: CaptureLimits,
    private readonly maxMs: number,
    private readonly listener: CaptureListener,
  ) {
    this.interceptor = interceptorOf(response);
    this.interceptor.handler = this;
    this.listenersBefore = response.listenerCount('finish');
    if (limits.stream) this.chosen = this.newStream(true, maxMs);
  }

  /** Whether the writer has begun a response. */
  get hasResponse(): boolean {
    return this.begun;
  }

  /** The number of bytes of the body that were written so far. */
  get size(): number {
    return this.held;
  }

  get hasEnded(): boolean {
    return this.ended;
  }

  /**
   * Resolves when something waits for the response to be sent, as `pipeline()`, `finished()` and a callback of `end()` do. To wait for
   * a handler that waits for its response would be a deadlock.
   */
  awaited(): Promise<void> {
    const { response } = this;
    return new Promise((resolve) => {
      if (this.callbacks || response.listenerCount('finish') > this.listenersBefore) return resolve();
      const note = (event: string | symbol) => {
        if (event !== 'finish') return;
        response.off('newListener', note);
        resolve();
      };
      response.on('newListener', note);
    });
  }

  /** Sends what was held. What is written later passes. */
  release(): void {
    if (this.phase === 'open') return;
    const wasStreaming = this.phase === 'streaming';
    this.open();
    if (wasStreaming) return this.streaming!.finish();
    const { response } = this;
    const { original } = this.interceptor;
    if (this.ended) {
      // The whole body is known, so node sends its length instead of chunks, and a replay looks the same. A header that is not
      // there must not be removed: after compression has removed Content-Length, node would send neither, and close.
      if (response.hasHeader('Transfer-Encoding')) response.removeHeader('Transfer-Encoding');
      response.removeHeader('Trailer');
      if (this.callbacks) response.once('finish', () => this.callBack());
      original.end.call(response, this.gathered(), 'utf8');
    } else if (this.begun) {
      if (this.chunks) original.write.call(response, this.gathered(), 'utf8');
      else original.flushHeaders.call(response);
      this.callBack();
      response.emit('drain');
    }
    this.chunks = undefined;
  }

  /**
   * Sends the response as it is written, except its end, which waits for {@link release}. To be called for a response that is to be
   * streamed. Resolves when the response ends, with how it ended.
   */
  stream(): Promise<StreamEnd> {
    const { original } = this.interceptor;
    this.phase = 'streaming';
    this.streaming = this.chosen ?? this.newStream(false, UNDECIDED_HOLD_MS);
    this.streaming.begin();
    if (this.head) Object.assign(this.response, this.head);
    if (this.size > 0) original.write.call(this.response, this.gathered(), 'utf8');
    else original.flushHeaders.call(this.response);
    this.chunks = undefined;
    this.callBack();
    this.response.emit('drain');
    return this.streaming.ended;
  }

  /** Closes the connection where a part of the response was sent and its end must not be. Returns whether it did. */
  breakOff(): boolean {
    if (!this.streaming) return false;
    this.open();
    discardWrites(this.response);
    this.streaming.breakOff();
    return true;
  }

  /**
   * Writes another response by `write` instead of what was held. What the pipeline does to the response afterwards has no effect.
   */
  replace(write: (response: ServerResponse) => void): void {
    if (this.phase === 'open') return;
    this.open();
    this.chunks = undefined;
    write(this.response);
    discardWrites(this.response);
    this.callBack();
  }

  /** Drops what was held. Another response follows, and is sent as it is written. */
  discard(): void {
    if (this.phase === 'open') return;
    this.open();
    this.chunks = undefined;
    this.callBack();
  }

  writeHead(args: readonly unknown[]): void {
    // Called by node itself, or by middleware, when the first bytes are sent.
    if (this.streaming) return void this.interceptor.original.writeHead.apply(this.response, args as never);
    const [status, ...rest] = args;
    applyHead(this.response, status as number, rest);
  }

  flushHeaders(): void {
    if (this.streaming) return this.interceptor.original.flushHeaders.call(this.response);
    this.begin(true);
  }

  write(args: readonly unknown[]): boolean {
    checkChunk(args[0]);
    if (this.ended) return false;
    checkHead(this.response);
    this.begin();
    if (this.streaming) return this.streaming.write(args);
    this.hold(args);
    return this.held <= this.limits.maxBytes;
  }

  end(args: readonly unknown[]): void {
    if (this.ended) return;
    checkChunk(args[0]);
    checkHead(this.response);
    this.ended = true;
    if (this.streaming) return this.streaming.end(args);
    if (!this.begun) this.pretendSent();
    this.begun = true;
    this.hold(args);
    this.report();
  }

  /** Throws as node does after the head was sent. */
  mayChangeHeaders(): boolean {
    if (!this.begun || this.streaming) return true;
    throw Object.assign(new Error('Cannot change headers after they are sent to the client'), {
      code: 'ERR_HTTP_HEADERS_SENT',
    });
  }

  private newStream(outlivesClient: boolean, silenceMs: number): ResponseStream {
    return new ResponseStream(this.response, this.interceptor.original, { outlivesClient, silenceMs });
  }

  private begin(isFlushed = false): void {
    if (this.begun) return;
    this.begun = true;
    this.pretendSent();
    const { limits, listener, maxMs } = this;
    const { stream } = limits;
    // A failure is stored or released before it is sent.
    const isStream = stream !== false && this.response.statusCode < 400;
    if (isStream && stream) return this.reportUnstorable(true);
    const type = streamedTypeOf(this.response);
    const isUndecided = isStream && (isFlushed || type !== undefined);
    if (isUndecided) listener.onUndecided();
    if (type === 'text/event-stream') return this.reportUnstorable();
    this.endless = isUndecided
      ? setTimeout(() => this.reportUnstorable(true), Math.min(UNDECIDED_HOLD_MS, maxMs))
      : setTimeout(() => this.reportUnstorable(), maxMs);
    this.endless.unref();
  }

  private hold([chunk, encoding, callback]: readonly unknown[]): void {
    if (typeof chunk === 'function') callback = chunk;
    else if (typeof encoding === 'function') callback = encoding;
    if (typeof chunk === 'string') {
      this.keep(Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8'));
    } else if (chunk instanceof Uint8Array) {
      // The writer may reuse the memory, as it may once node has handed it to the kernel.
      this.keep(Buffer.from(chunk));
    }
    if (typeof callback === 'function') (this.callbacks ??= []).push(callback as Done);
    // A writer that waits for each chunk to be sent must continue, because nothing is sent before the end.
    if (!this.reported && !this.ended && this.callbacks) queueMicrotask(() => this.callBack());
  }

  private keep(chunk: Buffer): void {
    (this.chunks ??= []).push(chunk);
    this.held += chunk.length;
    if (this.held > this.limits.maxBytes) this.reportUnstorable();
  }

  private gathered(): Buffer {
    const { chunks = [] } = this;
    if (chunks.length !== 1) this.chunks = [Buffer.concat(chunks)];
    return this.chunks![0];
  }

  private report(): void {
    if (this.reported) return;
    this.reported = true;
    clearTimeout(this.endless);
    this.listener.onResponse({ status: this.response.statusCode, body: this.gathered() });
  }

  private reportUnstorable(isStreamed = false): void {
    if (this.reported) return;
    this.reported = true;
    clearTimeout(this.endless);
    this.listener.onResponse({ status: this.response.statusCode, body: undefined, ...(isStreamed && { isStreamed }) });
  }

  private callBack(): void {
    const { callbacks } = this;
    this.callbacks = undefined;
    for (const done of callbacks ?? []) done();
  }

  /**
   * Makes the response look sent to the framework, which asks for that before it writes another one. A status that is set later has
   * no effect, as after a head that was sent.
   */
  private pretendSent(): void {
    const { response } = this;
    const { statusCode, statusMessage } = response;
    this.head = { statusCode, statusMessage };
    Object.defineProperties(response, SENT);
  }

  private open(): void {
    this.phase = 'open';
    this.interceptor.handler = undefined;
    clearTimeout(this.endless);
    if (!this.streaming) this.chosen?.leaveClient();
    if (this.head) Object.assign(this.response, this.head);
  }
}

/** The properties of a held response; once it is not held, node's own. Shared by all responses, and never removed. */
const SENT: PropertyDescriptorMap = {
  headersSent: {
    configurable: true,
    get(this: ServerResponse): unknown {
      return captureOf(this) !== undefined || ofNode(this, 'headersSent');
    },
  },
  writableEnded: {
    configurable: true,
    get(this: ServerResponse): unknown {
      return captureOf(this)?.hasEnded ?? ofNode(this, 'writableEnded');
    },
  },
};

function captureOf(response: ServerResponse): ResponseCapture | undefined {
  const { handler } = interceptorOf(response);
  return handler instanceof ResponseCapture ? handler : undefined;
}

function ofNode(response: ServerResponse, name: string): unknown {
  return Reflect.get(Object.getPrototypeOf(response) as object, name, response);
}

/** Throws at once, as node does, so that the error reaches the handler or its filters. */
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

/** Applies `writeHead(status, message?, headers?)`. The headers are an object, or an array of names and values in turn. */
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
