import { StreamableFile } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { failStream, isDestroyed } from './http2.js';
import type { ResponseInterceptor } from './response-interceptor.js';
import { callBack } from './write-arguments.js';

/** Media types whose clients read the body while it is written. */
const STREAMED =
  /^(?:text\/event-stream|application\/(?:x-)?(?:ndjson|jsonl|jsonlines|json-stream|json-seq|grpc.*)|application\/(?:stream|seq)\+json|multipart\/x-mixed-replace)$/;

/** Returns the media type of a response if it marks a stream. */
export function streamedTypeOf(response: ServerResponse): string | undefined {
  const [type] = String(response.getHeader('content-type') ?? '').split(';');
  const name = type.trim().toLowerCase();
  return STREAMED.test(name) ? name : undefined;
}

/** Returns the stream that a handler has returned, if it has. */
export function sourceOf(value: unknown): Readable | undefined {
  const source: unknown = value instanceof StreamableFile ? value.getStream() : value;
  return source instanceof Readable ? source : undefined;
}

/** Returns the error of a stream that ended too early, for which it may have given no reason. */
export function streamError(reason?: unknown): Error {
  return reason instanceof Error ? reason : new Error('The stream was destroyed before its end', { cause: reason });
}

/**
 * Keeps a stream that is piped to `response` alive when the client disconnects. Platforms destroy it then, which would stop an
 * operation half way whose work happens while its stream is read.
 */
export function keepSource(source: Readable, response: ServerResponse): void {
  // oxlint-disable-next-line typescript/unbound-method -- called on the source
  const { destroy } = source;
  source.destroy = (error?: Error) =>
    error || source.readableEnded || !isDestroyed(response) ? destroy.call(source, error) : source;
}

/** How a streamed response ended. */
export type StreamEnd =
  /** Its writer has ended it, or destroyed it. */
  | 'ended'
  /** The client has disconnected, and the writer has written nothing for `silenceMs` since. */
  | 'silent';

export interface ResponseStreamSettings {
  /** Whether the operation goes on when the client disconnects, as the option `response.stream` asks. */
  readonly outlivesClient: boolean;
  /** How long a writer whose client has gone may write nothing, before it counts as stopped. */
  readonly silenceMs: number;
}

/**
 * Sends a response as it is written, except its end, which waits for the commit: a client that has seen the end can rely on it.
 *
 * - `'waiting'`: the stream was chosen by the options, and the response has not begun. Left for `'sending'` by `begin()`.
 * - `'sending'`: chunks are sent as they are written. Left for `'ended'` by `end()`.
 * - `'ended'`: the writer has ended the response, and `finish()` sends the end.
 *
 * Beside that, the client is `'connected'`, or has disconnected: the operation still runs, and its chunks are dropped. Platforms react to
 * `'close'` by destroying the stream that they pipe to the response. With `outlivesClient`, that event is `'withheld'` until the writer
 * has ended or is silent. Then the client is `'gone'`, as it is at once without that setting.
 */
export class ResponseStream {
  readonly ended: Promise<StreamEnd>;
  private settle!: (end: StreamEnd) => void;
  private phase: 'waiting' | 'sending' | 'ended' = 'waiting';
  private endArgs: readonly unknown[] = [];
  private client: 'connected' | 'withheld' | 'gone';
  private silenceTimer: NodeJS.Timeout | undefined;

  constructor(
    private readonly response: ServerResponse,
    private readonly original: ResponseInterceptor['original'],
    private readonly settings: ResponseStreamSettings,
  ) {
    this.ended = new Promise((resolve) => (this.settle = resolve));
    this.client = isDestroyed(response) ? 'gone' : 'connected';
    this.watchClient();
  }

  begin(): void {
    this.phase = 'sending';
    if (this.client !== 'connected') this.awaitSilence();
  }

  write(args: readonly unknown[]): boolean {
    if (this.client === 'connected') return this.original.write.apply(this.response, args as never);
    this.silenceTimer?.refresh();
    callBack(args);
    return true;
  }

  end(args: readonly unknown[]): void {
    this.phase = 'ended';
    this.endArgs = args;
    this.settle('ended');
    clearTimeout(this.silenceTimer);
  }

  /** Sends the end, if the writer has ended the response. */
  finish(): void {
    if (this.phase === 'ended') {
      if (this.client === 'connected') this.original.end.apply(this.response, this.endArgs as never);
      else callBack(this.endArgs);
    }
    this.leaveClient();
  }

  /** Closes the connection without an end, which shows the client that the response is incomplete. */
  abort(): void {
    this.leaveClient();
    this.breakOff();
    this.response.destroy();
  }

  /**
   * Shows the client that the response is incomplete, where closing it would not: over HTTP/2 and HTTP/1.0.
   *
   * Over HTTP/1.0 a response without a length ends with its connection (RFC 9112, section 6.3), so that only a reset shows that it is
   * incomplete. nginx asks servers over HTTP/1.0 by default, and would pass a part on as a whole response.
   */
  private breakOff(): void {
    const { req, socket } = this.response;
    if (failStream(this.response) || req.httpVersion !== '1.0') return;
    try {
      socket?.resetAndDestroy();
    } catch {
      // Node resets TCP alone: neither TLS nor a Unix socket. The connection is closed there.
    }
  }

  /** Stops watching the client, and emits a `'close'` that was withheld. */
  leaveClient(): void {
    const { response } = this;
    clearTimeout(this.silenceTimer);
    delete (response as Partial<ServerResponse>).emit;
    delete (response as Partial<ServerResponse>).destroy;
    if (this.client !== 'withheld') return;
    this.client = 'gone';
    response.emit('close');
  }

  private watchClient(): void {
    const { response } = this;
    const { outlivesClient } = this.settings;
    // oxlint-disable-next-line typescript/unbound-method -- called on the response
    const { emit, destroy } = response;
    // A writer may pipe a stream of another package, which stays as it is.
    if (outlivesClient) response.on('pipe', (source) => source instanceof Readable && keepSource(source, response));
    response.emit = (event: string | symbol, ...args: unknown[]) => {
      // Over HTTP/2, node says 'finish' of a response that its client has left, and a pipe to it would stop.
      if (event === 'finish' && outlivesClient) return false;
      if (event !== 'close' || this.client !== 'connected') return emit.call(response, event, ...args);
      this.client = outlivesClient ? 'withheld' : 'gone';
      if (this.phase !== 'ended') this.awaitSilence();
      // A writer that waits for 'drain' would wait forever.
      emit.call(response, 'drain');
      return outlivesClient || emit.call(response, 'close');
    };
    // The writer calls this, or the platform when its stream fails.
    response.destroy = (error?: Error) => {
      if (this.phase === 'sending') this.breakOff();
      if (this.phase !== 'waiting') this.settle('ended');
      else this.leaveClient();
      return destroy.call(response, error);
    };
  }

  private awaitSilence(): void {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => {
      if (this.phase !== 'waiting') this.settle('silent');
      this.leaveClient();
    }, this.settings.silenceMs).unref();
  }
}
