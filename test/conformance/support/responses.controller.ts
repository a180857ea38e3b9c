import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { Controller, HttpCode, Next, Param, Post, Req, Res } from '@nestjs/common';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

/** What responses of Express and replies of Fastify have in common. */
interface PlatformResponse {
  readonly raw?: ServerResponse;
  status(code: number): PlatformResponse;
  header(name: string, value: string): PlatformResponse;
  send(body?: unknown): PlatformResponse;
  redirect(...args: unknown[]): unknown;
  getHeader(name: string): unknown;
  removeHeader(name: string): unknown;
  type(name: string): PlatformResponse;
  hijack?(): unknown;
  sendFile?(path: string): void;
}

/** Node's own response; on Fastify the reply is given up for it. */
export function raw(response: PlatformResponse): ServerResponse {
  response.hijack?.();
  return response.raw ?? (response as unknown as ServerResponse);
}

const pause = (ms = 2) => new Promise((resolve) => setTimeout(resolve, ms));
const fresh = () => randomBytes(8).toString('hex');

/** Every way to answer without returning a value. */
@Controller('responses')
@Idempotent()
export class ResponsesController {
  @Post('res-json')
  json(@Res() response: PlatformResponse) {
    ran();
    response.status(202).header('X-Answer', fresh()).send({ id: fresh() });
  }

  @Post('res-text')
  text(@Res() response: PlatformResponse) {
    ran();
    response.type('text/plain').send(`text ${fresh()}`);
  }

  @Post('res-buffer')
  buffer(@Res() response: PlatformResponse) {
    ran();
    response.header('Content-Type', 'image/png').send(randomBytes(5_000));
  }

  @Post('res-empty')
  empty(@Res() response: PlatformResponse) {
    ran();
    response.status(204).send();
  }

  @Post('res-redirect')
  redirect(@Res() response: PlatformResponse) {
    ran();
    const url = `/responses/${fresh()}`;
    if (response.raw) response.redirect(url, 303);
    else response.redirect(303, url);
  }

  @Post('res-later')
  async later(@Res() response: PlatformResponse) {
    ran();
    await pause();
    response.send({ id: fresh() });
    await pause();
  }

  @Post('res-after-return')
  afterReturn(@Res() response: PlatformResponse) {
    ran();
    setTimeout(() => response.send({ id: fresh() }), 5);
  }

  @Post('res-then-throw')
  thenThrow(@Res() response: PlatformResponse) {
    ran();
    response.send({ id: fresh() });
    throw new Error('after the response was sent');
  }

  @Post('res-twice')
  twice(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.end('first');
    node.write('second');
    node.end('third');
  }

  @Post('next')
  next(@Res() response: PlatformResponse, @Next() _next: () => void) {
    ran();
    response.send(fresh());
  }

  @Post('passthrough')
  passthrough(@Res({ passthrough: true }) response: PlatformResponse) {
    ran();
    response.status(203).header('X-Answer', fresh()).header('ETag', '"v1"');
    return { id: fresh() };
  }

  @Post('passthrough-code')
  @HttpCode(206)
  passthroughCode(@Res({ passthrough: true }) response: PlatformResponse) {
    ran();
    response.header('Link', '</a>; rel="a", </b>; rel="b"');
    return [fresh()];
  }

  @Post('passthrough-removed')
  removed(@Res({ passthrough: true }) response: PlatformResponse) {
    ran();
    response.removeHeader('X-From-Middleware');
    return fresh();
  }

  @Post('passthrough-changed')
  changed(@Res({ passthrough: true }) response: PlatformResponse) {
    ran();
    response.header('X-From-Middleware', fresh());
    return fresh();
  }

  @Post('native')
  native(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.setHeader('X-Several', ['one', 'two']);
    node.writeHead(207, 'Several Things', { 'Content-Type': 'text/plain', 'X-Mixed-Case': fresh() });
    node.end(fresh());
  }

  @Post('native-pairs')
  pairs(@Res() response: PlatformResponse) {
    ran();
    raw(response).writeHead(200, ['X-One', '1', 'X-Two', 'a', 'X-Two', 'b', 'Content-Length', '2']).end('ok');
  }

  @Post('native-latin1')
  latin1(@Res() response: PlatformResponse) {
    ran();
    raw(response).end('caf\u00e9', 'latin1');
  }

  @Post('chunks')
  async chunks(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.setHeader('Content-Type', 'text/plain');
    for (let n = 0; n < 5; n++) {
      node.write(`chunk ${n} ${fresh()}\n`);
      await pause(1);
    }
    node.end();
  }

  @Post('chunks-reused')
  async reused(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    const memory = Buffer.alloc(1);
    for (const letter of 'abc') {
      memory.write(letter);
      await new Promise<unknown>((resolve) => node.write(memory, resolve));
    }
    node.end();
  }

  @Post('flushed')
  async flushed(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.writeHead(200, { 'Content-Type': 'text/plain' });
    node.flushHeaders();
    await pause();
    node.end(fresh());
  }

  @Post('piped')
  piped(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.setHeader('Content-Type', 'application/octet-stream');
    Readable.from([randomBytes(70_000), randomBytes(70_000)]).pipe(node);
  }

  @Post('pipeline')
  async pipeline(@Res() response: PlatformResponse) {
    ran();
    await pipeline(Readable.from(['a', fresh(), 'c']), raw(response));
  }

  @Post('pipeline-failing')
  async pipelineFailing(@Res() response: PlatformResponse) {
    ran();
    const failing = Readable.from(
      (function* () {
        yield 'a';
        throw new Error('while streaming');
      })(),
    );
    await pipeline(failing, raw(response)).catch(() => undefined);
  }

  @Post('early-hints')
  async hints(@Res({ passthrough: true }) response: PlatformResponse) {
    ran();
    const node = response.raw ?? (response as unknown as ServerResponse);
    node.writeEarlyHints({ link: '</style.css>; rel=preload' });
    await pause();
    return fresh();
  }

  @Post('trailers')
  trailers(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.writeHead(200, { 'Content-Type': 'text/plain', Trailer: 'X-Checksum' });
    node.write('body');
    node.addTrailers({ 'X-Checksum': 'abc' });
    node.end();
  }

  @Post('gzipped')
  gzipped(@Res() response: PlatformResponse) {
    ran();
    response.header('Content-Type', 'text/plain').header('Content-Encoding', 'gzip').header('ETag', '"strong"');
    response.send(gzipSync(`plain ${'text '.repeat(100)}`));
  }

  @Post('header-after-end')
  afterEnd(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    node.end('done');
    try {
      node.setHeader('X-Too-Late', '1');
    } catch {
      // As without us: they were sent.
    }
    node.statusCode = 418;
  }

  @Post('invalid/:what')
  invalid(@Param('what') what: string, @Res() response: PlatformResponse, @Req() _request: IncomingMessage) {
    ran();
    const node = response.raw ?? (response as unknown as ServerResponse);
    if (what === 'chunk') node.end({ not: 'bytes' } as never);
    if (what === 'status') Object.assign(node, { statusCode: 99 }).end('x');
    if (what === 'header') node.setHeader('X-Bad', 'a\nb').end('x');
  }

  @Post('unpackable')
  unpackable(@Res() response: PlatformResponse) {
    ran();
    const broken = () => {
      throw new Error('as of middleware that went wrong');
    };
    Object.assign(raw(response), { getRawHeaderNames: broken }).end('sent all the same');
  }

  @Post('file')
  file(@Res() response: PlatformResponse) {
    ran();
    response.type('image/png');
    if (response.sendFile) response.sendFile(import.meta.filename);
    else response.send(createReadStream(import.meta.filename));
  }

  @Post('endless')
  endless(@Res() response: PlatformResponse, @Req() request: { raw?: IncomingMessage } & IncomingMessage) {
    ran();
    const node = raw(response);
    node.writeHead(200, { 'Content-Type': 'text/event-stream' });
    let n = 0;
    const timer = setInterval(() => node.write(`data: ${n++}\n\n`), 5);
    (request.raw ?? request).socket.once('close', () => clearInterval(timer));
  }

  @Post('slow-stream')
  @Idempotent({ lease: '150ms', retention: '1h' })
  async slowStream(@Res() response: PlatformResponse) {
    ran();
    const node = raw(response);
    for (let n = 0; n < 5; n++) {
      node.write(`part ${n};`);
      await pause(80);
    }
    node.end();
  }

  @Post('too-large')
  @Idempotent({ response: { maxBytes: 1_000 } })
  tooLarge() {
    ran();
    return { text: 'x'.repeat(1_001) };
  }

  @Post('too-large-stream')
  @Idempotent({ response: { maxBytes: 1_000 } })
  async tooLargeStream(@Res() response: PlatformResponse) {
    ran();
    await pipeline(
      Readable.from([Buffer.alloc(600, 'a'), Buffer.alloc(600, 'b'), Buffer.alloc(600, 'c')]),
      raw(response),
    );
  }

  @Post('large-enough')
  @Idempotent({ response: { maxBytes: 1_000 } })
  largeEnough(@Res() response: PlatformResponse) {
    ran();
    raw(response).end('x'.repeat(1_000));
  }
}
