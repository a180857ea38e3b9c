import type { ServerResponse } from 'node:http';
import { type ResponseInterceptor, type WriteHandler, interceptorOf, discardWrites } from './response-interceptor.js';
import { ResponseStream, type ResponseStreamSettings, streamedTypeOf, type StreamEnd } from './response-stream.js';
import { applyHead, bytesOf, callbackOf, checkChunk, checkHead, type WriteCallback } from './write-arguments.js';

/** A response of which nothing was sent yet. */
export interface CapturedResponse {
  readonly status: number;
  /** `undefined` if the response cannot be stored, because it is too large or does not end in time. */
  readonly body: Buffer | undefined;
  /** Whether the listener has to call {@link ResponseCapture.stream}. */
  readonly isStreamed?: boolean | undefined;
}

/** The options `response.maxBytes` and `response.stream`, which bound what is held. */
interface CaptureLimits {
  readonly maxBytes: number;
  readonly stream?: boolean | undefined;
}

export interface CaptureListener {
  /** Called once, when the response has ended or when it cannot be stored. Nothing was sent until then. */
  onResponse(captured: CapturedResponse): void;
  /** Called when the head marks the response as a stream and the option `stream` is not set. */
  onUndecided(): void;
  /** Called when what sends the response throws: middleware that has wrapped it, or a listener of its head. */
  onUnsent(error: unknown): void;
}

/** A response that looks like a stream (by `flushHeaders()` or its type) is stored like any other if it ends within this time. */
const UNDECIDED_HOLD_MS = 1_000;

/**
 * The states of a capture.
 *
 * - `'holding'`: nothing is sent. Left for `'streaming'` by `stream()`, and for `'open'` by `release()`, `replace()` and `discard()`.
 * - `'streaming'`: the response is sent as it is written, except its end. Left for `'open'` by `release()` and `abort()`.
 * - `'open'`: the capture is over, and node gets every write.
 */
type Phase = 'holding' | 'streaming' | 'open';

/**
 * How far the writer of a response is.
 *
 * - `'nothing'`: no response has begun. Left for `'begun'` by the first write, and for `'ended'` by `end()`.
 * - `'begun'`: nothing is reported. Left for `'reported'` by a response that is streamed, too large or too slow, and for `'ended'`.
 * - `'reported'`: the listener knows that the response cannot be stored. Left for `'ended'` by `end()`.
 * - `'ended'`: the response is complete, and reported.
 */
type Progress = 'nothing' | 'begun' | 'reported' | 'ended';

/**
 * Holds a response at node's own `ServerResponse`, whether the framework, a filter or the handler writes it. When the outcome is
 * committed, the held response is sent, or a different one.
 *
 * Middleware that wrapped the response earlier, such as compression, runs when the response is sent. So the capture holds the
 * response without that middleware's changes. Informational responses (early hints) are sent at once, because they are no outcome.
 * A held response is sent without trailers, because a replay could not send them.
 */
export class ResponseCapture implements WriteHandler {
  private phase: Phase = 'holding';
  private chunks: Buffer[] | undefined;
  /** The number of bytes of the body so far. */
  size = 0;
  private progress: Progress = 'nothing';
  private callbacks: WriteCallback[] | undefined;
  private holdTimer: NodeJS.Timeout | undefined;
  private readonly interceptor: ResponseInterceptor;
  /** The number of 'finish' listeners before the handler began: the platform's, and those of loggers. */
  private readonly listenersBefore: number;
  /** The status line at the time when the writer believed the head to be sent. */
  private head: Pick<ServerResponse, 'statusCode' | 'statusMessage'> | undefined;
  /** With `response: { stream: true }`. It watches the client from the beginning, as a disconnect must not end the operation. */
  private readonly optedStream: ResponseStream | undefined;
  private streaming: ResponseStream | undefined;

  /** @param maxMs how long a response may take from its first byte to its end */
  constructor(
    private readonly response: ServerResponse,
    private readonly limits: CaptureLimits,
    private readonly maxMs: number,
    private readonly listener: CaptureListener,
  ) {
    this.interceptor = interceptorOf(response);
    this.interceptor.handler = this;
    this.listenersBefore = response.listenerCount('finish');
    if (limits.stream) this.optedStream = this.openStream({ outlivesClient: true, silenceMs: maxMs });
  }

  get isHolding(): boolean {
    return this.phase === 'holding';
  }

  get hasResponse(): boolean {
    return this.progress !== 'nothing';
  }

  get hasEnded(): boolean {
    return this.progress === 'ended';
  }

  /**
   * Resolves when something waits for the response to be sent, as `pipeline()`, `finished()` and a callback of `end()` do. The run
   * must not wait for a handler that waits for its response: that would be a deadlock.
   */
  awaited(): Promise<void> {
    const { response } = this;
    return new Promise((resolve) => {
      if (this.callbacks || response.listenerCount('finish') > this.listenersBefore) return resolve();
      const onNewListener = (event: string | symbol) => {
        if (event !== 'finish') return;
        response.off('newListener', onNewListener);
        resolve();
      };
      response.on('newListener', onNewListener);
    });
  }

  /** Sends what is held, and lets node get every later write. */
  release(): void {
    if (this.phase === 'open') return;
    const wasStreaming = this.phase === 'streaming';
    this.stopHolding();
    this.sending(() => (wasStreaming ? this.streaming!.finish() : this.sendHeld()));
    this.chunks = undefined;
  }

  private sending(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.listener.onUnsent(error);
    }
  }

  private sendHeld(): void {
    const { response } = this;
    const { original } = this.interceptor;
    if (this.hasEnded) {
      // Node sends the length of a whole body instead of chunks, as it does for the replay. Only a header that is present may be
      // removed: after compression has removed Content-Length, node would otherwise send neither and close the connection.
      if (response.hasHeader('Transfer-Encoding')) response.removeHeader('Transfer-Encoding');
      response.removeHeader('Trailer');
      if (this.callbacks) response.once('finish', () => this.runCallbacks());
      original.end.call(response, this.heldBody(), 'utf8');
    } else if (this.hasResponse) {
      if (this.chunks) original.write.call(response, this.heldBody(), 'utf8');
      else original.flushHeaders.call(response);
      this.runCallbacks();
      response.emit('drain');
    }
  }

  /**
   * Sends the response as it is written, except its end, which waits for {@link release}. Called for a response with
   * {@link CapturedResponse.isStreamed}. Resolves when the response ends.
   */
  stream(): Promise<StreamEnd> {
    const { original } = this.interceptor;
    this.phase = 'streaming';
    this.streaming = this.optedStream ?? this.openStream({ outlivesClient: false, silenceMs: UNDECIDED_HOLD_MS });
    this.streaming.begin();
    if (this.head) Object.assign(this.response, this.head);
    this.sending(() => {
      if (this.size > 0) this.streaming!.write([this.heldBody(), 'utf8']);
      else original.flushHeaders.call(this.response);
      this.runCallbacks();
      this.response.emit('drain');
    });
    this.chunks = undefined;
    return this.streaming.ended;
  }

  /**
   * Closes the connection of a streamed response, whose end must not be sent.
   *
   * @returns `false` if the response is not streamed
   */
  abort(): boolean {
    if (!this.streaming) return false;
    this.stopHolding();
    discardWrites(this.response);
    this.streaming.abort();
    return true;
  }

  /** Drops what is held, and sends what `write` writes. Later writes of the pipeline are discarded. */
  replace(write: (response: ServerResponse) => void): void {
    if (this.phase === 'open') return;
    this.stopHolding();
    this.chunks = undefined;
    write(this.response);
    discardWrites(this.response);
    this.runCallbacks();
  }

  /** Drops what is held, and lets node get every later write: a filter writes another response. */
  discard(): void {
    if (this.phase === 'open') return;
    this.stopHolding();
    this.chunks = undefined;
    this.runCallbacks();
  }

  writeHead(args: readonly unknown[]): void {
    // Node or middleware calls this when it sends the first bytes of a stream.
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
    if (this.hasEnded) return false;
    checkHead(this.response);
    this.begin();
    if (this.streaming) return this.streaming.write(args);
    this.hold(args);
    const mayContinue = this.size <= this.limits.maxBytes;
    if (!mayContinue) this.reportUnstorable();
    // Nothing is sent before the end. A writer that waits for each chunk to be sent would never reach it.
    if (this.progress === 'begun' && this.callbacks) queueMicrotask(() => this.runCallbacks());
    return mayContinue;
  }

  end(args: readonly unknown[]): void {
    const { progress } = this;
    if (progress === 'ended') return;
    checkChunk(args[0]);
    checkHead(this.response);
    this.progress = 'ended';
    if (this.streaming) return this.streaming.end(args);
    if (progress === 'nothing') this.markAsSent();
    this.hold(args);
    if (progress !== 'reported') this.report(this.size <= this.limits.maxBytes ? this.heldBody() : undefined);
  }

  /** @throws Error with node's code `ERR_HTTP_HEADERS_SENT`, once the writer has begun the response */
  mayChangeHeaders(): boolean {
    if (!this.hasResponse || this.streaming) return true;
    throw Object.assign(new Error('Cannot change headers after they are sent to the client'), {
      code: 'ERR_HTTP_HEADERS_SENT',
    });
  }

  private openStream(settings: ResponseStreamSettings): ResponseStream {
    return new ResponseStream(this.response, this.interceptor.original, settings);
  }

  private begin(isFlushed = false): void {
    if (this.hasResponse) return;
    this.progress = 'begun';
    this.markAsSent();
    const { limits, listener, maxMs } = this;
    const { stream } = limits;
    // An error response is held to its end even from a stream: only then is it known whether it is stored.
    const isStream = stream !== false && this.response.statusCode < 400;
    if (isStream && stream) return this.reportUnstorable(true);
    const type = streamedTypeOf(this.response);
    const isUndecided = isStream && (isFlushed || type !== undefined);
    if (isUndecided) listener.onUndecided();
    if (type === 'text/event-stream') return this.reportUnstorable();
    this.holdTimer = isUndecided
      ? setTimeout(() => this.reportUnstorable(true), Math.min(UNDECIDED_HOLD_MS, maxMs))
      : setTimeout(() => this.reportUnstorable(), maxMs);
    this.holdTimer.unref();
  }

  private hold(args: readonly unknown[]): void {
    const bytes = bytesOf(args);
    if (bytes) {
      (this.chunks ??= []).push(bytes);
      this.size += bytes.length;
    }
    const callback = callbackOf(args);
    if (callback) (this.callbacks ??= []).push(callback);
  }

  private heldBody(): Buffer {
    const { chunks = [] } = this;
    if (chunks.length !== 1) this.chunks = [Buffer.concat(chunks)];
    return this.chunks![0];
  }

  private reportUnstorable(isStreamed?: boolean): void {
    if (this.progress !== 'begun') return;
    this.progress = 'reported';
    this.report(undefined, isStreamed);
  }

  private report(body: Buffer | undefined, isStreamed?: boolean): void {
    clearTimeout(this.holdTimer);
    this.listener.onResponse({ status: this.response.statusCode, body, isStreamed });
  }

  private runCallbacks(): void {
    const { callbacks } = this;
    this.callbacks = undefined;
    for (const callback of callbacks ?? []) callback();
  }

  /**
   * Makes the response look sent. Otherwise the framework, which checks `headersSent`, would write an error response into a held one.
   * A status that is set later has no effect, as node ignores it after the head.
   */
  private markAsSent(): void {
    const { response } = this;
    const { statusCode, statusMessage } = response;
    this.head = { statusCode, statusMessage };
    Object.defineProperties(response, SENT);
  }

  private stopHolding(): void {
    this.phase = 'open';
    this.interceptor.handler = undefined;
    clearTimeout(this.holdTimer);
    if (!this.streaming) this.optedStream?.leaveClient();
    if (this.head) Object.assign(this.response, this.head);
  }
}

/**
 * Properties that report a held response as sent, and otherwise ask node. Bun itself reads them while it writes a head. All responses
 * share these getters, and keep them: to remove properties would slow down the response.
 */
const SENT: PropertyDescriptorMap = {
  headersSent: {
    configurable: true,
    get(this: ServerResponse): unknown {
      return captureOf(this)?.isHolding || valueOfNode(this, 'headersSent');
    },
  },
  writableEnded: {
    configurable: true,
    get(this: ServerResponse): unknown {
      return captureOf(this)?.hasEnded ?? valueOfNode(this, 'writableEnded');
    },
  },
};

function captureOf(response: ServerResponse): ResponseCapture | undefined {
  const { handler } = interceptorOf(response);
  return handler instanceof ResponseCapture ? handler : undefined;
}

function valueOfNode(response: ServerResponse, name: string): unknown {
  return Reflect.get(Object.getPrototypeOf(response) as object, name, response);
}
