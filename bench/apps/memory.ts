import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { rmSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  type CallHandler,
  Controller,
  type ExecutionContext,
  type INestApplication,
  type InjectionToken,
  type NestInterceptor,
  Post,
  Query,
  Req,
  Res,
  ServiceUnavailableException,
  StreamableFile,
  UseInterceptors,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { timeout } from 'rxjs';
import { DataSource } from 'typeorm';
import { type Question, serve, settings } from './serve.js';

const CHUNK = Buffer.alloc(65_536, 'x');

let gate = new Promise<void>(() => undefined);
let openGate: () => void = () => undefined;

/** What handlers have done so far, to be waited for. */
const done = { begun: 0, received: 0, written: 0 };

async function held(body: unknown) {
  done.begun++;
  await gate;
  return { id: randomUUID(), body };
}

interface PlatformRequest {
  readonly raw?: IncomingMessage;
  readonly body?: unknown;
}

async function upload(request: PlatformRequest) {
  done.begun++;
  const source =
    request.body instanceof Readable ? request.body : (request.raw ?? (request as unknown as IncomingMessage));
  let bytes = 0;
  // An iterator would keep the last chunk of an upload that stalls, which is up to 64 KiB.
  source.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    done.received += chunk.length;
  });
  await finished(source);
  return { bytes };
}

/** As a handler that heeds backpressure. */
function* chunks(mib: number) {
  for (let i = 0; i < mib * 16; i++) {
    done.written += CHUNK.length;
    yield CHUNK;
  }
}

function large(mib: number) {
  done.begun++;
  return new StreamableFile(Readable.from(chunks(mib), { objectMode: false, highWaterMark: 65_536 }));
}

/** Writes until it is told to end. */
async function endless(platformResponse: ServerResponse & { readonly raw?: ServerResponse }) {
  const response = platformResponse.raw ?? platformResponse;
  done.begun++;
  let isOver = false;
  const mayGoOn = new EventEmitter();
  const goOn = () => mayGoOn.emit('now');
  response.on('drain', goOn).once('close', goOn);
  void gate.then(() => ((isOver = true), goOn()));
  response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
  while (!isOver && !response.destroyed) {
    done.written += CHUNK.length;
    if (response.write(CHUNK)) await setImmediate();
    else await once(mayGoOn, 'now');
  }
  response.end();
}

/** As an application bounds its requests. */
class GivesUp implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(timeout(100));
  }
}

@Controller('bare')
class BareController {
  @Post('held')
  held(@Body() body: object) {
    return held(body);
  }

  @Post('upload')
  upload(@Req() request: PlatformRequest) {
    return upload(request);
  }

  @Post('large')
  large(@Query('mib') mib: string) {
    return large(Number(mib));
  }

  @Post('endless')
  endless(@Res() response: ServerResponse) {
    return endless(response);
  }
}

const LONG = { waitTimeout: '10m', lease: '10m' } as const;

@Controller('ours')
class OurController {
  @Post('held')
  @Idempotent({ ...LONG, onConflict: 'wait' })
  held(@Body() body: object) {
    return held(body);
  }

  @Post('refused')
  @Idempotent({ ...LONG, onConflict: 'reject' })
  refused(@Body() body: object) {
    return held(body);
  }

  @Post('upload')
  @Idempotent(LONG)
  upload(@Req() request: PlatformRequest) {
    return upload(request);
  }

  @Post('large')
  @Idempotent(LONG)
  large(@Query('mib') mib: string) {
    return large(Number(mib));
  }

  @Post('endless')
  @Idempotent(LONG)
  endless(@Res() response: ServerResponse) {
    return endless(response);
  }

  @Post('endless-transaction')
  @Idempotent({ ...LONG, transactional: true })
  endlessTransaction(@Res() response: ServerResponse) {
    return endless(response);
  }

  @Post('endless-stream')
  @Idempotent({ ...LONG, transactional: true, response: { stream: true } })
  endlessStream(@Res() response: ServerResponse) {
    return endless(response);
  }

  @Post('failing')
  @Idempotent(LONG)
  async failing(@Body() body: object) {
    await held(body);
    throw new ServiceUnavailableException();
  }

  /** As one that opens a connection for others too: what it opens has its async context, and keeps that. */
  @Post('lasting')
  @Idempotent(LONG)
  lasting(@Body() body: object) {
    setInterval(() => undefined, 600_000).unref();
    return held(body);
  }

  @Post('timed-out')
  @UseInterceptors(GivesUp)
  @Idempotent(LONG)
  timedOut(@Body() body: object) {
    return held(body);
  }

  /** Its lease is renewed, or found lost, within the third of a second. */
  @Post('brief')
  @Idempotent({ lease: '1s', onConflict: 'wait', waitTimeout: '10m' })
  brief(@Body() body: object) {
    return held(body);
  }
}

async function answer(question: Question, app: INestApplication): Promise<unknown> {
  switch (question.ask) {
    case 'memory':
      return memory();
    case 'kept':
      return kept(app);
    case 'close-gate':
      Object.assign(done, { begun: 0, received: 0, written: 0 });
      gate = new Promise<void>((resolve) => (openGate = resolve));
      return done;
    case 'open-gate':
      openGate();
      return done;
    case 'slow-socket':
      return { path: SLOW_SOCKET };
    case 'done':
      return { ...done, arrived: bytesArrived() };
    // As another process does that takes over.
    case 'take-over':
      await app.get(DataSource).query(`UPDATE idempotency_record SET token = token + 1 WHERE status = 'processing'`);
      return {};
    case 'close':
      await app.close();
      return {};
    default:
      return {};
  }
}

/** Requests and responses that came, to see which of them have been let go. */
const seen = new Set<WeakRef<object>>();

/** In bytes, of what is reachable (`external` has the buffers within it), and how many requests and responses are. */
async function memory() {
  await collect();
  for (const one of seen) if (one.deref() === undefined) seen.delete(one);
  const { heapUsed, external } = process.memoryUsage();
  return { bytes: heapUsed + external, exchanges: seen.size };
}

/** Twice: what a finalizer lets go of, and what was looked at in this turn, stays until the next time. */
async function collect() {
  for (let i = 0; i < 2; i++) {
    await sleep(10);
    globalThis.gc!();
  }
}

interface Sized {
  readonly size: number;
}

/** Of the library's, by their names: whatever of them is private. */
interface Engine {
  readonly inFlight: Sized;
  readonly running: number;
  readonly watchers: { readonly watchers: Sized };
  readonly heartbeats: { readonly due: Sized };
  readonly claiming: number;
}

interface Store {
  readonly claims: { readonly deadlines: { readonly due: Sized } };
  readonly completions: Store['claims'];
  readonly timeLimit: Store['claims'];
}

interface Edges {
  readonly http: { readonly admitting: Sized };
}

const LIBRARY = new URL('../../dist/', import.meta.url);

async function find<T>(app: INestApplication, file: string, name: string): Promise<T> {
  const module = (await import(new URL(`${file}.js`, LIBRARY).href)) as Record<string, InjectionToken>;
  return app.get<T>(module[name] as never);
}

/** What the library keeps of requests that go on, each collection by its size. */
async function kept(app: INestApplication): Promise<Record<string, number>> {
  const engine = await find<Engine>(app, 'engine/engine', 'IdempotencyEngine');
  const store = await find<Store>(app, 'store/sql-record-store', 'SqlRecordStore');
  const { http } = await find<Edges>(app, 'edges/idempotency-edges', 'IdempotencyEdges');
  return {
    inFlight: engine.inFlight.size,
    running: engine.running,
    watchers: engine.watchers.watchers.size,
    heartbeats: engine.heartbeats.due.size,
    claiming: engine.claiming,
    admitting: http.admitting.size,
    claims: store.claims.deadlines.due.size,
    completions: store.completions.deadlines.due.size,
    statements: store.timeLimit.deadlines.due.size,
  };
}

const SLOW_SOCKET = join(tmpdir(), `idempotency-memory-${process.pid}.sock`);

/**
 * Serves the same application on a Unix socket. The kernel takes some 200 KiB of what its client does not read, and megabytes of
 * what a client of TCP does not: of a thousand of these, more than a machine may have.
 */
function serveSlowClients(server: Server): void {
  createServer((socket) => server.emit('connection', socket)).listen(SLOW_SOCKET);
  process.once('exit', () => rmSync(SLOW_SOCKET, { force: true }));
}

const sockets = new Set<Socket>();

/** On the connections that are open. */
function bytesArrived(): number {
  let bytes = 0;
  for (const socket of sockets) bytes += socket.bytesRead;
  return bytes;
}

/** Fastify refuses types that it has no parser for: these come as streams, as an application has them that reads uploads itself. */
function configure(app: INestApplication): void {
  const server = app.getHttpServer() as Server;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('request', (request, response) => {
    seen.add(new WeakRef(request)).add(new WeakRef(response));
  });
  serveSlowClients(server);
  const { httpAdapter } = app.get(HttpAdapterHost);
  if (httpAdapter.getType() !== 'fastify') return;
  httpAdapter
    .getInstance<{ addContentTypeParser(types: RegExp, parse: (...args: unknown[]) => void): void }>()
    .addContentTypeParser(/^multipart\/|octet-stream/, (_request, payload, doneParsing) =>
      (doneParsing as (error: null, body: unknown) => void)(null, payload),
    );
}

await serve(
  [BareController, OurController],
  [IdempotencyModule.forRoot({ audit: 'off', sweep: false, ...settings.module })],
  answer,
  configure,
);
