import { StreamableFile } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { ResponseInterceptor } from './response-interceptor.js';

/** Types whose bodies are read while they are written. */
const STREAMED =
  /^(?:text\/event-stream|application\/(?:x-)?(?:ndjson|jsonl|jsonlines|json-stream|json-seq|grpc.*)|application\/(?:stream|seq)\+json|multipart\/x-mixed-replace)$/;

/** The media type of a response whose client reads it while it is written. */
export function streamedTypeOf(response: ServerResponse): string | undefined {
  const [type] = String(response.getHeader('content-type') ?? '').split(';');
  const name = type.trim().toLowerCase();
  return STREAMED.test(name) ? name : undefined;
}

/**
 * Platforms destroy the source of a response when the client has gone, and so would end an operation half way whose work is done
 * while its source is read. With this, they do not.
 */
export function keepSource(value: unknown, response: ServerResponse): void {
  const source: unknown = value instanceof StreamableFile ? value.getStream() : value;
  if (!(source instanceof Readable)) return;
  // oxlint-disable-next-line typescript/unbound-method -- called on the source
  const { destroy } = source;
  source.destroy = (error?: Error) =>
    error || source.readableEnded || !response.destroyed ? destroy.call(source, error) : source;
}

/** How a response that went out as it was written came to its end. */
export type StreamEnd =
  /** Its writer has ended it, or broken it off. */
  | 'ended'
  /** The client has gone, and the writer has shown no sign of life since. */
  | 'silent';

/**
 * A response that goes out as it is written, except its end, which waits until the outcome is on record: a client that has seen
 * the end can rely on it.
 *
 * The operation goes on when its client has gone. Platforms listen to `'close'` and cut the source off that they pipe to the
 * response, and so would end the operation half way: with `outlivesClient`, they hear of it once the writer has ended.
 */
export class ResponseStream {
  readonly ended: Promise<StreamEnd>;
  private settle!: (end: StreamEnd) => void;
  private hasBegun = false;
  private lastWords: readonly unknown[] | undefined;
  private isClosed: boolean;
  /** Whether the platform has yet to hear that the client has gone. */
  private isKeptBack = false;
  private silenceTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly response: ServerResponse,
    private readonly original: ResponseInterceptor['original'],
    private readonly settings: { readonly outlivesClient: boolean; readonly silenceMs: number },
  ) {
    this.ended = new Promise((resolve) => (this.settle = resolve));
    this.isClosed = response.destroyed;
    this.watchClient();
  }

  begin(): void {
    this.hasBegun = true;
    if (this.isClosed) this.awaitSilence();
  }

  write(args: readonly unknown[]): boolean {
    if (!this.isClosed) return this.original.write.apply(this.response, args as never);
    this.silenceTimer?.refresh();
    callBack(args);
    return true;
  }

  end(args: readonly unknown[]): void {
    this.lastWords = args;
    this.settle('ended');
    clearTimeout(this.silenceTimer);
  }

  /** Sends the end. */
  finish(): void {
    if (this.lastWords && !this.isClosed) this.original.end.apply(this.response, this.lastWords as never);
    else if (this.lastWords) callBack(this.lastWords);
    this.leaveClient();
  }

  /** Closes the connection without an end, so that the client knows that it has not seen the whole. */
  breakOff(): void {
    this.leaveClient();
    this.response.destroy();
  }

  /** Has the platform hear of its client again. */
  leaveClient(): void {
    const { response } = this;
    clearTimeout(this.silenceTimer);
    delete (response as Partial<ServerResponse>).emit;
    delete (response as Partial<ServerResponse>).destroy;
    if (this.isKeptBack) response.emit('close');
    this.isKeptBack = false;
  }

  private watchClient(): void {
    const { response, settings } = this;
    // oxlint-disable-next-line typescript/unbound-method -- called on the response
    const { emit, destroy } = response;
    if (settings.outlivesClient) response.on('pipe', (source) => keepSource(source, response));
    response.emit = (event: string | symbol, ...args: unknown[]) => {
      if (event !== 'close' || this.isClosed) return emit.call(response, event, ...args);
      this.isClosed = true;
      if (!this.lastWords) this.awaitSilence();
      // A writer that waits for its client would wait for ever.
      emit.call(response, 'drain');
      this.isKeptBack = settings.outlivesClient;
      return this.isKeptBack || emit.call(response, 'close');
    };
    // By its writer, or by the platform when the source fails.
    response.destroy = (error?: Error) => {
      if (this.hasBegun) this.settle('ended');
      else this.leaveClient();
      return destroy.call(response, error);
    };
  }

  private awaitSilence(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => {
      if (this.hasBegun) this.settle('silent');
      this.leaveClient();
    }, this.settings.silenceMs).unref();
  }
}

function callBack(args: readonly unknown[]): void {
  const callback = args.find((arg) => typeof arg === 'function') as (() => void) | undefined;
  if (callback) queueMicrotask(callback);
}
