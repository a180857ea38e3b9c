import { BadRequestException } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type { Http2ServerRequest } from 'node:http2';
import { Readable } from 'node:stream';
import type { StreamedInput } from '../../engine/ports/streamed-input.js';
import type { Exchange } from './exchange.js';

/** How long the rest of a body may take once its handler has answered, and how long it may pause, in milliseconds. */
const LONGEST_REST_MS = 1_000;
const LONGEST_PAUSE_MS = 100;

/** Takes the place of multipart's delimiters, which are new on every attempt. */
const DELIMITER = Buffer.from('\0--');

/** Bodies that are being read, or were: an interceptor outside that tries again asks for its request once more. */
const STREAMED = new WeakMap<Readable, StreamedBody>();

export function streamedBodyOf(stream: Readable, head: Buffer, exchange: Exchange): StreamedBody {
  let body = STREAMED.get(stream);
  if (!body) STREAMED.set(stream, (body = new StreamedBody(stream, head, exchange)));
  return body;
}

/** The body of a request, where it is still to be read: by the handler itself, or by an interceptor within ours. */
export function unreadBodyOf(exchange: Exchange): Readable | undefined {
  const { body } = exchange.request;
  // A parser of Fastify may hand the stream itself on, or one that it comes out of decompressed.
  const stream = body instanceof Readable ? body : announcesBody(exchange) && exchange.rawRequest;
  return stream && (isUnread(stream) || STREAMED.has(stream)) ? stream : undefined;
}

export function isUnread(stream: Readable): boolean {
  return !stream.readableDidRead && !stream.readableEnded;
}

export function announcesBody({ request: { headers }, rawRequest }: Exchange): boolean {
  const { stream } = rawRequest as Partial<Pick<Http2ServerRequest, 'stream'>>;
  // HTTP/2 says by a flag whether there is a body.
  if (stream) return !(stream as { readonly endAfterHeaders?: boolean }).endAfterHeaders;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0;
}

/**
 * A body that its handler reads as it arrives, and that is hashed as it passes. Nothing of it is kept.
 *
 * Its fingerprint covers what the handler had been given when it answered: all of the body as a rule, and of one that was
 * left unread what arrives at once. To wait for more would be to wait for a client that waits for the response. So a
 * fingerprint says how many bytes it covers and whether the body ended there, and a duplicate is compared by as many.
 */
export class StreamedBody implements StreamedInput {
  private readonly delimiter: Buffer | undefined;
  private digest: BodyDigest;
  private ended = false;
  private onProgress: () => void = () => undefined;
  private complete: Promise<Buffer> | undefined;

  /** @param head fingerprint of everything but the body */
  constructor(
    private readonly stream: Readable,
    private readonly head: Buffer,
    { request, rawResponse }: Exchange,
  ) {
    this.delimiter = delimiterOf(request.headers['content-type']);
    this.digest = new BodyDigest(head, this.delimiter);
    this.listen();
    // Of a duplicate that is refused unread. Node lets go of such a body by itself only where nothing is piped between.
    rawResponse.once('finish', () => void (isUnread(stream) && stream.resume()));
  }

  get brokeOff(): boolean {
    return this.stream.destroyed && !this.ended;
  }

  fingerprint(): Promise<Buffer> {
    return (this.complete ??= this.rest().then(() => packed(this.digest, this.ended)));
  }

  async matches(recorded: Buffer): Promise<boolean> {
    // Its own: the same request, asked for again.
    if (this.complete) return recorded.equals(await this.complete);
    // Settled by hand, before the body of the first request was known.
    if (recorded.equals(this.head)) return true;
    const { length, whole } = unpacked(recorded);
    this.digest = new BodyDigest(this.head, this.delimiter, length);
    await this.read(() => this.digest.exceeded || (!whole && this.digest.length === length));
    return packed(this.digest, whole && this.ended && !this.digest.exceeded).equals(recorded);
  }

  /**
   * By what the stream emits: a listener would set the stream flowing, and to read from it would take the body from its
   * handler.
   */
  private listen(): void {
    const { stream } = this;
    const emit = stream.emit.bind(stream) as (...event: unknown[]) => boolean;
    stream.emit = (name: string | symbol, ...values: unknown[]) => {
      if (name === 'data') this.digest.update(bytesOf(values[0], stream.readableEncoding));
      if (name === 'end') {
        this.digest.end();
        this.ended = true;
      }
      if (name === 'data' || name === 'end') this.onProgress();
      return emit(name, ...values);
    };
  }

  /** Reads until `isEnough`, or to the end. What comes after that is let pass, so that the connection can go on. */
  private read(isEnough: () => boolean): Promise<void> {
    const { stream } = this;
    return new Promise((resolve, reject) => {
      const fail = () => reject(new BadRequestException('The request was aborted'));
      this.onProgress = () => {
        if (this.ended || isEnough()) resolve();
      };
      stream.on('error', fail).once('close', fail);
      if (stream.destroyed) fail();
      this.onProgress();
      stream.resume();
    });
  }

  /** Waits for the rest of the body while it keeps coming. */
  private rest(): Promise<void> {
    const { stream } = this;
    if (stream.readableFlowing === null && isUnread(stream)) stream.resume();
    const isOver = () => this.ended || stream.destroyed || stream.isPaused();
    if (isOver()) return Promise.resolve();
    return new Promise((resolve) => {
      const giveUpAt = performance.now() + LONGEST_REST_MS;
      let { received } = this.digest;
      const look = () => {
        const hasPaused = this.digest.received === received;
        received = this.digest.received;
        if (hasPaused || isOver() || performance.now() >= giveUpAt) done();
      };
      // In a busy process, what has arrived is read before it counts as missing.
      const timer = setInterval(() => setImmediate(look), LONGEST_PAUSE_MS);
      const done = () => {
        clearInterval(timer);
        resolve();
      };
      stream.once('end', done).once('close', done);
    });
  }
}

/** SHA-256 of the beginning of a body, up to `limit` bytes, in whatever pieces it comes. */
class BodyDigest {
  /** Bytes that were handed over, and bytes that were hashed. */
  received = 0;
  length = 0;
  /** Whether there are more bytes than `limit`. */
  exceeded = false;
  private readonly hash;
  /**
   * Has room for the end of what was handed over, as it may be the beginning of a delimiter. Memory of its own: a copy within
   * node's pool of buffers would keep 8 KiB of that for as long as an upload stalls.
   */
  private readonly room: Buffer;
  private held: Buffer;

  constructor(
    head: Buffer,
    private readonly delimiter: Buffer | undefined,
    private readonly limit = Infinity,
  ) {
    this.hash = createHash('sha256').update(head);
    this.room = Buffer.alloc(delimiter ? delimiter.length - 1 : 0);
    this.held = this.room.subarray(0, 0);
  }

  update(chunk: Buffer): void {
    this.received += chunk.length;
    const { delimiter } = this;
    if (!delimiter) return this.add(chunk);
    const bytes = this.held.length ? Buffer.concat([this.held, chunk]) : chunk;
    let from = 0;
    for (let at = bytes.indexOf(delimiter); at >= 0; at = bytes.indexOf(delimiter, from)) {
      this.add(bytes.subarray(from, at));
      this.add(DELIMITER);
      from = at + delimiter.length;
    }
    const kept = Math.max(from, bytes.length - delimiter.length + 1);
    this.add(bytes.subarray(from, kept));
    // The next reader of the chunk may write into it.
    this.held = this.room.subarray(0, bytes.copy(this.room, 0, kept));
  }

  end(): void {
    this.add(this.held);
  }

  sum(): Buffer {
    return this.hash.copy().digest();
  }

  private add(bytes: Buffer): void {
    const left = this.limit - this.length;
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    this.exceeded ||= part !== bytes;
    this.length += part.length;
    this.hash.update(part);
  }
}

/** A fingerprint: 25 bytes of the digest, whether the body ended there, and its length. */
const SUM_BYTES = 25;
const LENGTH_BYTES = 6;

function packed(digest: BodyDigest, whole: boolean): Buffer {
  const fingerprint = digest.sum();
  fingerprint[SUM_BYTES] = whole ? 1 : 0;
  fingerprint.writeUIntBE(digest.length, SUM_BYTES + 1, LENGTH_BYTES);
  return fingerprint;
}

function unpacked(fingerprint: Buffer): { readonly length: number; readonly whole: boolean } {
  return { length: fingerprint.readUIntBE(SUM_BYTES + 1, LENGTH_BYTES), whole: fingerprint[SUM_BYTES] === 1 };
}

function delimiterOf(contentType = ''): Buffer | undefined {
  const boundary = /^multipart\/.*;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  return boundary ? Buffer.from(`--${boundary[1] ?? boundary[2]}`, 'latin1') : undefined;
}

/** What a stream emits: text if its reader asked for that, anything in object mode. */
function bytesOf(chunk: unknown, encoding: BufferEncoding | null): Buffer {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding ?? 'utf8') : Buffer.from(JSON.stringify(chunk) ?? '');
}
