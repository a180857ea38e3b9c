import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BadRequestException, ConflictException, Controller, Post, Req } from '@nestjs/common';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

interface StreamRequest {
  readonly raw?: IncomingMessage;
  readonly body?: unknown;
  readonly headers: IncomingMessage['headers'];
}

/** What handlers have been given so far, and what they wait for, by the key of their request. */
export class Uploads {
  readonly received = new Map<string, number>();
  readonly failed: string[] = [];
  private readonly gates = new Map<string, Promise<void>>();

  /** Makes the handler of this request wait, once it has begun. */
  hold(key: string): () => void {
    let open!: () => void;
    this.gates.set(key, new Promise((resolve) => (open = resolve)));
    return open;
  }

  async begin({ headers }: StreamRequest): Promise<string> {
    ran();
    const key = String(headers['idempotency-key']);
    this.received.set(key, 0);
    await this.gates.get(key);
    return key;
  }

  take(key: string, chunk: Buffer): void {
    this.received.set(key, this.received.get(key)! + chunk.length);
  }
}

export const uploads = new Uploads();

const sourceOf = (request: StreamRequest) =>
  request.body instanceof Readable ? request.body : (request.raw ?? (request as unknown as IncomingMessage));

/** Handlers that read their bodies themselves, in all the ways there are. */
@Controller('streams')
@Idempotent()
export class StreamedRequestsController {
  @Post('iterated')
  async iterated(@Req() request: StreamRequest) {
    const key = await uploads.begin(request);
    const hash = createHash('sha256');
    try {
      for await (const chunk of sourceOf(request)) {
        uploads.take(key, chunk as Buffer);
        hash.update(chunk as Buffer);
      }
    } catch (error) {
      uploads.failed.push(key);
      throw error;
    }
    return { sha256: hash.digest('hex') };
  }

  @Post('piped')
  async piped(@Req() request: StreamRequest) {
    const key = await uploads.begin(request);
    const hash = createHash('sha256');
    const through = new PassThrough().on('data', (chunk: Buffer) => uploads.take(key, chunk));
    await pipeline(sourceOf(request), through, hash).catch((error: unknown) => {
      uploads.failed.push(key);
      throw error;
    });
    return { sha256: hash.digest('hex') };
  }

  /** As middlewares for raw bodies do. */
  @Post('listened')
  async listened(@Req() request: StreamRequest) {
    const key = await uploads.begin(request);
    const hash = createHash('sha256');
    const source = sourceOf(request);
    source.on('data', (chunk: Buffer) => {
      uploads.take(key, chunk);
      hash.update(chunk);
    });
    await new Promise<void>((resolve, reject) => {
      source.once('end', resolve).once('error', () => {
        uploads.failed.push(key);
        // A status that would be final.
        reject(new BadRequestException('The body broke off'));
      });
    });
    return { sha256: hash.digest('hex') };
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  transactional(@Req() request: StreamRequest) {
    return this.iterated(request);
  }

  @Post('awaited')
  @Idempotent({ onConflict: 'wait' })
  awaited(@Req() request: StreamRequest) {
    return this.iterated(request);
  }

  /** Answers with what it was given first, and leaves the rest. */
  @Post('first')
  async first(@Req() request: StreamRequest) {
    await uploads.begin(request);
    const source = sourceOf(request);
    const [chunk] = (await once(source, 'data')) as [Buffer];
    source.pause();
    return { first: chunk.toString() };
  }

  @Post('refused')
  async refused(@Req() request: StreamRequest) {
    await uploads.begin(request);
    throw new ConflictException('not now');
  }

  @Post('failing')
  async failing(@Req() request: StreamRequest) {
    const key = await uploads.begin(request);
    for await (const chunk of sourceOf(request)) uploads.take(key, chunk as Buffer);
    if (uploads.failed.includes(key)) return { key };
    uploads.failed.push(key);
    throw new Error('out of order');
  }
}
