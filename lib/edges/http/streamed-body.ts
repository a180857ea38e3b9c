import { BadRequestException } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type { Http2ServerRequest } from 'node:http2';
import { Readable } from 'node:stream';
import type { StreamedInput } from '../../engine/ports/streamed-input.js';
import type { Exchange } from './exchange.js';

/** How long a run waits for the rest of a body after its handler has answered. */
const MAX_REST_MS = 1_000;
/** How long that rest may pause. A client that waits for its response sends nothing more. */
const MAX_PAUSE_MS = 100;

/** Hashed instead of a multipart delimiter, which differs between retries. */
const DELIMITER = Buffer.from('\0--');

/** Bodies that were asked for. An outer interceptor that retries asks again, and must get the same digest. */
const STREAMED = new WeakMap<Readable, StreamedBody>();

export function streamedBodyOf(stream: Readable, head: Buffer, exchange: Exchange): StreamedBody {
  let body = STREAMED.get(stream);
  if (!body) STREAMED.set(stream, (body = new StreamedBody(stream, head, exchange)));
  return body;
}

/** Returns the body of a request if the handler, or an inner interceptor, still has to read it. */
export function unreadBodyOf(exchange: Exchange): Readable | undefined {
  const { body } = exchange.request;
  // A parser of Fastify may pass on the stream itself, or a decompressed one.
  const stream = body instanceof Readable ? body : announcesBody(exchange) && exchange.rawRequest;
  return stream && (isUnread(stream) || STREAMED.has(stream) || isLeftEmpty(stream, exchange)) ? stream : undefined;
}

/**
 * Returns whether a request over HTTP/2 without a body has ended before anything read it, as when its client leaves in a guard. Its retry
 * ends by an empty frame, which has not been read either when the retry is described.
 */
function isLeftEmpty({ readableEnded, readableDidRead }: Readable, { request, rawRequest }: Exchange): boolean {
  return readableEnded && !readableDidRead && request.body === undefined && 'stream' in rawRequest;
}

export function isUnread(stream: Readable): boolean {
  return !stream.readableDidRead && !stream.readableEnded;
}

export function announcesBody({ request: { headers }, rawRequest }: Exchange): boolean {
  const { stream } = rawRequest as Partial<Pick<Http2ServerRequest, 'stream'>>;
  // HTTP/2 has no header that announces a body, but a flag.
  if (stream) return !(stream as { readonly endAfterHeaders?: boolean }).endAfterHeaders;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length']) > 0;
}

/**
 * A body that is hashed while its handler reads it. Nothing of it is kept.
 *
 * The fingerprint covers the bytes that had arrived when the handler answered, which is usually the whole body. To wait for the rest
 * could be a deadlock, with a client that waits for the response. So a fingerprint contains the number of bytes that it covers and
 * whether the body ended there, and a duplicate is compared by the same number of bytes.
 *
 * - reading: the handler reads, and each chunk is hashed as it is emitted.
 * - complete: `fingerprint()` was called, which waits for the rest of the body for a limited time.
 * - compared: `matches()` reads the body of a duplicate, whose handler does not run.
 */
export class StreamedBody implements StreamedInput {
  private readonly delimiter: Buffer | undefined;
  private digest: BodyDigest;
  private ended: boolean;
  private onProgress: () => void = () => undefined;
  private complete: Promise<Buffer> | undefined;

  /** @param head fingerprint of everything except the body */
  constructor(
    private readonly stream: Readable,
    private readonly head: Buffer,
    { request, rawResponse }: Exchange,
  ) {
    this.delimiter = delimiterOf(request.headers['content-type']);
    this.digest = new BodyDigest(head, this.delimiter);
    this.ended = stream.readableEnded;
    this.listen();
    // Drains the body of a duplicate that is refused unread. Node does so itself only for a body that is not piped through a parser.
    rawResponse.once('finish', () => void (isUnread(stream) && stream.resume()));
  }

  get isTruncated(): boolean {
    return this.stream.destroyed && !this.ended;
  }

  fingerprint(): Promise<Buffer> {
    return (this.complete ??= this.rest().then(() => this.digest.packed(this.ended)));
  }

  async matches(recorded: Buffer): Promise<boolean> {
    // The same request is admitted again, for an outer interceptor that retries.
    if (this.complete) return recorded.equals(await this.complete);
    // An operator resolved the record before the body of the first request was known.
    if (recorded.equals(this.head)) return true;
    const { length, whole } = unpacked(recorded);
    this.digest = new BodyDigest(this.head, this.delimiter, length);
    await this.read(() => this.digest.exceeded || (!whole && this.digest.length === length));
    return this.digest.packed(whole && this.ended && !this.digest.exceeded).equals(recorded);
  }

  /** Hashes what the stream emits. A 'data' listener would start the stream before its handler listens. */
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

  /** Reads until `isEnough`, or to the end. The rest is drained, so that the connection can serve the next request. */
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
      const giveUpAt = performance.now() + MAX_REST_MS;
      let { received } = this.digest;
      const look = () => {
        const hasPaused = this.digest.received === received;
        received = this.digest.received;
        if (hasPaused || isOver() || performance.now() >= giveUpAt) done();
      };
      // A busy process must read what has arrived before it counts as missing.
      const timer = setInterval(() => setImmediate(look), MAX_PAUSE_MS);
      const done = () => {
        clearInterval(timer);
        resolve();
      };
      stream.once('end', done).once('close', done);
    });
  }
}

/** SHA-256 of the first `limit` bytes of a body, independent of how it is split into chunks. */
class BodyDigest {
  /** The number of bytes that were passed to {@link update}. */
  received = 0;
  /** The number of bytes that were hashed. */
  length = 0;
  /** Whether there are more bytes than `limit`. */
  exceeded = false;
  private readonly hash;
  /**
   * The end of the last chunk, which may be the beginning of a delimiter. Allocated alone: a slice of node's buffer pool would keep
   * 8 KiB of it while an upload stalls.
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
    // A copy, because the next reader of the chunk may write into it.
    this.held = this.room.subarray(0, bytes.copy(this.room, 0, kept));
  }

  end(): void {
    this.add(this.held);
  }

  /** Returns the fingerprint of what was hashed. */
  packed(whole: boolean): Buffer {
    const fingerprint = this.hash.copy().digest();
    fingerprint[SUM_BYTES] = whole ? 1 : 0;
    fingerprint.writeUIntBE(this.length, SUM_BYTES + 1, LENGTH_BYTES);
    return fingerprint;
  }

  private add(bytes: Buffer): void {
    const left = this.limit - this.length;
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    this.exceeded ||= part !== bytes;
    this.length += part.length;
    this.hash.update(part);
  }
}

/** Digests a multipart body that was read as it came. Its delimiter is not part of the digest, because it differs between retries. */
export function digestOfMultipart(body: Uint8Array | string, contentType: string | undefined): string {
  const digest = new BodyDigest(Buffer.alloc(0), delimiterOf(contentType));
  digest.update(bytesOf(body, 'utf8'));
  digest.end();
  return digest.packed(true).toString('base64');
}

/** A fingerprint has 32 bytes: 25 of the digest, one for whether the body ended there, and six for its length. */
const SUM_BYTES = 25;
const LENGTH_BYTES = 6;

function unpacked(fingerprint: Buffer): { readonly length: number; readonly whole: boolean } {
  return { length: fingerprint.readUIntBE(SUM_BYTES + 1, LENGTH_BYTES), whole: fingerprint[SUM_BYTES] === 1 };
}

/** RFC 2046, section 5.1.1. */
const MAX_BOUNDARY_LENGTH = 70;

/** A longer boundary is not looked for. A client could make it so that each byte is compared with all of it: seconds for a megabyte. */
function delimiterOf(contentType = ''): Buffer | undefined {
  const found = /^multipart\/.*;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType);
  const boundary = found?.[1] ?? found?.[2];
  const isSound = boundary !== undefined && boundary.length <= MAX_BOUNDARY_LENGTH;
  return isSound ? Buffer.from(`--${boundary}`, 'latin1') : undefined;
}

/** Returns the bytes of a chunk: text if the reader has set an encoding, any value in object mode. */
function bytesOf(chunk: unknown, encoding: BufferEncoding | null): Buffer {
  if (chunk instanceof Uint8Array) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding ?? 'utf8') : Buffer.from(JSON.stringify(chunk) ?? '');
}
