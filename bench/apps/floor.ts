/**
 * The floor: the least code that does on the request path what the library promises there, in a Nest interceptor, on the
 * library's own table. What is rare is missing (joins, heartbeats, take-overs, lost leases); nothing is left out of what costs
 * time on a fresh request, a replay or a refusal:
 *
 * - the key read from the header's lines, which must be one, and checked
 * - one SHA-256 for the identity, one for the fingerprint of the body whatever the order of its members, the request kept as JSON
 * - a durable claim, in one statement with the claims that arrive meanwhile, committed before the handler runs; it reads the outcome
 *   of a key that has one, as nothing but the table says which key is new
 * - three contexts of an `AsyncLocalStorage`: of the interceptors inside, of each call of the handler, as an interceptor may repeat
 *   it, and of the interceptors outside, which are not part of the execution when they get its value and its end
 * - the response captured at node's ServerResponse, headers and body, held back until its outcome is durable
 * - a durable, fenced completion, in one statement with others likewise
 * - a replay of what its claim has read: checked, as others may write to the table, sent through the hooks of Fastify and written at
 *   the ServerResponse, with the headers that the hooks have changed; the interceptors outside get the value that it stands for
 * - with Redis, a lock of the package `redlock` before the claim, in one vote with the locks of the same turn
 * - a 409 without a statement for a duplicate of a request that runs in this process
 *
 * `ours` has to have made its tables in the database before.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, randomUUID } from 'node:crypto';
import { type IncomingMessage, type ServerResponse, validateHeaderName, validateHeaderValue } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ArgumentsHost,
  BadRequestException,
  Body,
  type CallHandler,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  Post,
  Req,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { InjectDataSource } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import pg from 'pg';
import Redlock from 'redlock';
import { Observable, type Subscriber } from 'rxjs';
import { DataSource, type EntityManager } from 'typeorm';
import { charge, type NewCharge, type NewOrder, order, pacedCharge, serve, settings } from './serve.js';

const LEASE_MS = 30_000;
const RETENTION_MS = 86_400_000;
/** The library's default: a record keeps nothing of a larger request. */
const KEPT_REQUEST_MAX_BYTES = 65_536;

const unnest = (types: readonly string[]) => `unnest(${types.map((type, i) => `$${i + 1}::${type}[]`).join(', ')})`;
const EXPIRY = `date_trunc('minute', clock_timestamp() + interval '${RETENTION_MS} ms') + interval '1 minute'`;

const CLAIM_TYPES = ['uuid', 'uuid', 'text', 'bytea', 'bytea'];
const CLAIM = `WITH asked AS MATERIALIZED (
    SELECT * FROM ${unnest(CLAIM_TYPES)} AS i(id, owner, endpoint, fingerprint, request)
  ), existing AS MATERIALIZED (
    SELECT r.id, r.fingerprint, r.response_code, r.response_head, r.response_body
    FROM asked i JOIN idempotency_record r ON r.id = i.id WHERE r.expires_at > clock_timestamp()
  ), claimed AS (
    INSERT INTO idempotency_record AS r (id, owner, endpoint, fingerprint, request, status, token, attempt,
      hold_on_crash, awaited, lease_until, created_at, expires_at)
    SELECT asked.*, 'processing', 1, 1, false, false, clock_timestamp() + interval '${LEASE_MS} ms', clock_timestamp(), ${EXPIRY}
    FROM asked WHERE id NOT IN (SELECT id FROM existing)
    ON CONFLICT (id) DO NOTHING RETURNING r.id
  )
  SELECT id, fingerprint, response_code AS code, response_head AS head, response_body AS body FROM existing
  UNION ALL SELECT id, NULL, NULL, NULL, NULL FROM claimed`;
const COMPLETE = `UPDATE idempotency_record r SET status = 'done', response_code = i.code, response_head = i.head,
    response_body = i.body, completed_at = clock_timestamp(), expires_at = ${EXPIRY}
  FROM ${unnest(['uuid', 'uuid', 'smallint', 'bytea', 'bytea'])} AS i(id, owner, code, head, body)
  WHERE r.id = i.id AND r.owner = i.owner AND r.token = 1 AND r.status = 'processing' RETURNING r.id`;

interface Row {
  readonly id: string;
  /** Of the existing record; null where the statement has made the record. */
  readonly fingerprint: Buffer | null;
  /** Null while the record's request runs. */
  readonly code: number | null;
  readonly head: Buffer;
  readonly body: Buffer;
}

const { host, port, username, database } = settings.database as Record<'host' | 'username' | 'database', string> & {
  readonly port: number;
};
const openPool = (options: string) =>
  new pg.Pool({ host, port, user: username, database, options, max: 4, idleTimeoutMillis: 0 });

// A plan that was made while the table was empty would read the whole table for each claim.
const BY_INDEX = '-c enable_seqscan=off';
const pool = openPool(BY_INDEX);
const asyncCommitPool = openPool(`${BY_INDEX} -c synchronous_commit=off`);

interface Waiting {
  readonly values: readonly unknown[];
  readonly resolve: (row: Row | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** What arrives while a statement is under way goes together in the next one. `values[0]` is the record's id. */
class Batch {
  private queue: Waiting[] = [];
  private phase: 'idle' | 'scheduled' | 'sent' = 'idle';

  constructor(
    private readonly name: string,
    private readonly text: string,
    private readonly on = pool,
  ) {}

  add(values: readonly unknown[]): Promise<Row | undefined> {
    return new Promise((resolve, reject) => {
      this.queue.push({ values, resolve, reject });
      if (this.phase === 'idle') this.schedule();
    });
  }

  private schedule(): void {
    this.phase = 'scheduled';
    setImmediate(() => void this.send());
  }

  private async send(): Promise<void> {
    this.phase = 'sent';
    // In the order of ids, so that concurrent batches do not deadlock.
    const batch = this.queue.sort((a, b) => ((a.values[0] as string) < (b.values[0] as string) ? -1 : 1));
    this.queue = [];
    const columns = batch[0].values.map((_, column) => batch.map(({ values }) => values[column]));
    try {
      const { rows } = await this.on.query<Row>({ name: this.name, text: this.text, values: columns });
      const byId = new Map(rows.map((row) => [row.id, row]));
      for (const { values, resolve } of batch) resolve(byId.get(values[0] as string));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    this.phase = 'idle';
    if (this.queue.length > 0) this.schedule();
  }
}

const claims = new Batch('floor_claim', CLAIM);
const asyncClaims = new Batch('floor_claim', CLAIM, asyncCommitPool);
const completions = new Batch('floor_complete', COMPLETE);

const RELEASE = `
  for i, name in ipairs(KEYS) do
    if redis.call('get', name) == ARGV[i] then redis.call('del', name) end
  end`;

interface LockClient extends Redis {
  release(count: number, ...keysAndValues: string[]): Promise<unknown>;
}

interface LockRequest {
  readonly id: string;
  /** Takes the lock's value, or `undefined` where another owner has the lock. */
  readonly answer: (value: string | undefined) => void;
}

/**
 * Redlock's locks: the package asks the nodes, counts their votes and computes how long a lock is valid. The locks of a turn are one vote. A
 * lock that is given back waits for the next ones that are taken.
 */
class Locks {
  private readonly nodes: readonly LockClient[];
  private readonly redlock: Redlock;
  private requests: LockRequest[] = [];
  private released: { readonly id: string; readonly value: string }[] = [];

  constructor(ports: readonly number[]) {
    this.nodes = ports.map(
      (port) => new Redis(port, '127.0.0.1', { scripts: { release: { lua: RELEASE } } }) as LockClient,
    );
    this.redlock = new Redlock(this.nodes as unknown as ConstructorParameters<typeof Redlock>[0], { retryCount: 0 });
  }

  acquire(id: string): Promise<string | undefined> {
    return new Promise((answer) => {
      if (this.requests.length === 0) setImmediate(() => this.send());
      this.requests.push({ id, answer });
    });
  }

  release(id: string, value: string): void {
    this.released.push({ id, value });
  }

  private send(): void {
    const { requests, released } = this;
    this.requests = [];
    this.released = [];
    this.vote(requests);
    if (released.length === 0) return;
    const values = [...released.map(({ id }) => id), ...released.map(({ value }) => value)];
    for (const node of this.nodes) node.release(released.length, ...values).catch(() => undefined);
  }

  private vote(requests: readonly LockRequest[]): void {
    const ids = requests.map(({ id }) => id);
    this.redlock.acquire(ids, LEASE_MS).then(
      ({ value }) => {
        for (const { answer } of requests) answer(value);
      },
      () => {
        if (requests.length === 1) requests[0].answer(undefined);
        else for (const request of requests) this.vote([request]);
      },
    );
  }
}

const locks = settings.redisPorts?.length ? new Locks(settings.redisPorts) : undefined;

interface PlatformRequest {
  readonly raw?: IncomingMessage;
  readonly routeOptions?: { readonly url: string };
  readonly route?: { readonly path: string };
  readonly body: unknown;
  manager?: EntityManager;
}

interface PlatformReply {
  readonly raw?: ServerResponse;
  /** On Fastify. */
  header?(name: string, value: string): unknown;
  getHeaders?(): Record<string, unknown>;
  send(body: unknown): unknown;
}

interface Exchange {
  readonly request: PlatformRequest;
  readonly reply: PlatformReply;
  readonly response: ServerResponse;
  readonly id: string;
  readonly endpoint: string;
  readonly fingerprint: Buffer;
  readonly requestJson: string;
}

function exchangeOf(context: ExecutionContext): Exchange {
  const http = context.switchToHttp();
  const request = http.getRequest<PlatformRequest>();
  const reply = http.getResponse<PlatformReply>();
  const incoming = request.raw ?? (request as unknown as IncomingMessage);
  const endpoint = `POST ${request.routeOptions?.url ?? request.route?.path}`;
  const key = keyOf(incoming.rawHeaders);
  const digest = createHash('sha256').update(`0:${endpoint.length}:${endpoint}${key}`).digest();
  const hex = digest.toString('hex', 0, 16);
  const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  const body = JSON.stringify(isInOrder(request.body) ? request.body : inOrder(request.body));
  const fingerprint = createHash('sha256').update(digest).update(`v1\n${endpoint}\n${body}`).digest();
  const requestJson = `{"method":"POST","path":"${incoming.url}","body":${body}}`;
  const response = reply.raw ?? (reply as unknown as ServerResponse);
  return { request, reply, response, id, endpoint, fingerprint, requestJson };
}

const KEY = /^[\x21-\x7e]{1,255}$/;

function keyOf(rawHeaders: readonly string[]): string {
  let line: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length !== 15 || rawHeaders[i].toLowerCase() !== 'idempotency-key') continue;
    if (line !== undefined) throw new BadRequestException('The Idempotency-Key header is repeated.');
    line = rawHeaders[i + 1].replace(/^[ \t]+|[ \t]+$/g, '').replace(/^"(.*)"$/, '$1');
  }
  if (!line || !KEY.test(line)) throw new BadRequestException('The Idempotency-Key header is no key.');
  return line;
}

/** Returns whether the members of all objects are in the order of their names, as those of small requests often are. */
function isInOrder(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (Array.isArray(value)) return value.every(isInOrder);
  let last = '';
  for (const name in value) {
    if (name < last || !isInOrder((value as Record<string, unknown>)[name])) return false;
    last = name;
  }
  return true;
}

function inOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(inOrder);
  const members = Object.entries(value).map(([name, member]) => [name, inOrder(member)] as const);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const claimValues = ({ id, endpoint, fingerprint, requestJson }: Exchange, owner: string) => [
  id,
  owner,
  endpoint,
  fingerprint,
  requestJson.length > KEPT_REQUEST_MAX_BYTES ? null : Buffer.from(requestJson),
];

interface Captured {
  readonly status: number;
  readonly head: Buffer;
  readonly body: Buffer;
  /** Sends the response. */
  readonly release: () => void;
}

/** As they go over the wire; `@types/node` declares this for requests only. */
const rawHeaderNames = (response: ServerResponse) =>
  (response as ServerResponse & { getRawHeaderNames(): string[] }).getRawHeaderNames();

/** Holds the response back until `release`. */
function capture({ reply, response }: Exchange, onEnd: (captured: Captured) => void): void {
  if (!reply.raw) turnIntoDictionary(response);
  // oxlint-disable-next-line typescript/unbound-method -- put back where they were
  const { end, writeHead } = response;
  Object.assign(response, {
    writeHead(status: number, ...rest: unknown[]) {
      response.statusCode = status;
      const headers = rest.at(-1) as Record<string, string> | undefined;
      for (const name in headers) response.setHeader(name, headers[name]);
      return response;
    },
    end(chunk?: string | Buffer) {
      const body = chunk ? Buffer.from(chunk as string) : Buffer.alloc(0);
      const headers = rawHeaderNames(response).map((name) => [name, response.getHeader(name)]);
      const release = () => {
        Object.assign(response, { writeHead, end });
        response.end(body);
      };
      onEnd({ status: response.statusCode, head: Buffer.from(JSON.stringify(headers)), body, release });
      return response;
    },
  });
}

/**
 * Before Node 24, each property that is added to a response of Express creates a hidden class, as Express gives each response
 * a prototype of its own. After a deletion, V8 keeps the response as a dictionary, which takes further properties cheaply.
 */
function turnIntoDictionary(response: ServerResponse): void {
  const { sendDate } = response;
  delete (response as Partial<ServerResponse>).sendDate;
  response.sendDate = sendDate;
}

/**
 * Writes the stored response, and discards what Nest writes after it. On Fastify by the reply, as its plugins write the cookies
 * of guards and save sessions in `onSend` hooks. The stored bytes are sent whatever hooks make of them: they have been through
 * them before.
 */
function replay({ reply, response }: Exchange, { code, head, body }: Row): void {
  const headers = checkedHead(head);
  response.statusCode = code!;
  if (reply.raw) {
    for (const [name, value] of headers) reply.header!(name, value);
    reply.header!('Idempotent-Replayed', 'true');
    writeInstead(response, headers, reply.getHeaders!(), body);
    reply.send(body.toString());
    reply.send = () => reply;
    return;
  }
  for (const [name, value] of headers) response.setHeader(name, value);
  response.setHeader('Idempotent-Replayed', 'true');
  response.end(body);
  discardWrites(response);
}

function checkedHead(head: Buffer): [string, string][] {
  const headers = JSON.parse(head.toString()) as [string, string][];
  for (const [name, value] of headers) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
  return headers;
}

/** Headers that describe the stored bytes, whatever the hooks have made of these. */
const OF_THE_BYTES = /^(?:content-.+|etag|transfer-encoding)$/;

/**
 * Sends the stored body instead of what Fastify writes, with the stored headers as they were spelt, except those that hooks have
 * changed.
 */
function writeInstead(
  response: ServerResponse,
  headers: readonly [string, string][],
  before: Record<string, unknown>,
  body: Buffer,
): void {
  // oxlint-disable-next-line typescript/unbound-method -- put back where they were
  const { end, writeHead } = response;
  Object.assign(response, {
    writeHead(status: number, ...rest: unknown[]) {
      response.statusCode = status;
      const given = rest.at(-1) as Record<string, string> | undefined;
      for (const name in given) response.setHeader(name, given[name]);
      return response;
    },
    end() {
      Object.assign(response, { writeHead, end });
      for (const name of response.getHeaderNames())
        if (before[name] === undefined && OF_THE_BYTES.test(name) && name !== 'content-length')
          response.removeHeader(name);
      for (const [name, value] of headers) {
        const lower = name.toLowerCase();
        if (OF_THE_BYTES.test(lower) || response.getHeader(lower) === before[lower]) response.setHeader(name, value);
      }
      response.end(body);
      discardWrites(response);
      return response;
    },
  });
}

function discardWrites(response: ServerResponse): void {
  const discard = () => response;
  Object.assign(response, {
    end: discard,
    write: discard,
    setHeader: discard,
    removeHeader: discard,
    writeHead: discard,
  });
}

/** Fingerprints of the requests that run in this process, by their record's id. */
const inFlight = new Map<string, Buffer>();

class InProgress extends Error {}

const IN_PROGRESS = {
  type: 'urn:nestjs-idempotency:problem:in-progress',
  title: 'A request is outstanding for this idempotency key',
  status: 409,
  detail: 'A request with this idempotency key is being processed. Try again later.',
  code: 'in-progress',
  retryable: true,
};

@Catch(InProgress)
class InProgressFilter implements ExceptionFilter<InProgress> {
  constructor(private readonly adapterHost: HttpAdapterHost) {}

  catch(_error: InProgress, host: ArgumentsHost): void {
    const { httpAdapter } = this.adapterHost;
    const response = host.switchToHttp().getResponse<unknown>();
    httpAdapter.setHeader(response, 'Content-Type', 'application/problem+json; charset=utf-8');
    httpAdapter.setHeader(response, 'Retry-After', '1');
    httpAdapter.reply(response, JSON.stringify(IN_PROGRESS), 409);
  }
}

const execution = new AsyncLocalStorage<Exchange | { readonly call: Exchange } | undefined>();

/** Calls the handler, in a context of its own. */
const inCall = <T>(work: () => T): T => execution.run({ call: execution.getStore() as Exchange }, work);

function subscribeWithin(
  exchange: Exchange,
  next: CallHandler,
  subscriber: Subscriber<unknown>,
  onError?: (error: unknown) => void,
): void {
  const fail = (error: unknown) => {
    onError?.(error);
    subscriber.error(error);
  };
  execution.run(exchange, () =>
    next.handle().subscribe({
      next: (value) => execution.run(undefined, () => subscriber.next(value)),
      error: (error: unknown) => execution.run(undefined, () => fail(error)),
      complete: () => execution.run(undefined, () => subscriber.complete()),
    }),
  );
}

class FloorInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const exchange = exchangeOf(context);
    const { id, fingerprint } = exchange;
    return new Observable((subscriber) => {
      const fail = (error: unknown) => subscriber.error(error);
      const running = inFlight.get(id);
      if (running) return fail(running.equals(fingerprint) ? new InProgress() : new Error('The key was reused'));
      run(exchange, next, subscriber);
    });
  }
}

function run(exchange: Exchange, next: CallHandler, subscriber: Subscriber<unknown>): void {
  const { id, fingerprint, response } = exchange;
  const owner = randomUUID();
  let lock: string | undefined;
  const over = () => {
    inFlight.delete(id);
    if (lock !== undefined) locks?.release(id, lock);
  };
  const fail = (error: unknown) => {
    over();
    subscriber.error(error);
  };
  inFlight.set(id, fingerprint);
  if (!locks) return claim();
  locks.acquire(id).then((value) => {
    lock = value;
    if (lock === undefined) fail(new InProgress());
    else claim();
  }, fail);

  function claim(): void {
    claims.add(claimValues(exchange, owner)).then((row) => {
      if (row?.fingerprint?.equals(fingerprint) === false) return fail(new Error('The key was reused'));
      if (!row || (row.fingerprint && row.code === null)) return fail(new InProgress());
      if (row.fingerprint) {
        over();
        replay(exchange, row);
        subscriber.next(JSON.parse(row.body.toString()));
        return subscriber.complete();
      }
      capture(exchange, ({ status, head, body, release }) => {
        completions.add([id, owner, status, head, body]).then((held) => {
          over();
          if (held) release();
          else response.destroy();
        }, fail);
      });
      subscribeWithin(exchange, next, subscriber);
    }, fail);
  }
}

/** An own claim, which the disk may forget; the completion is the last statement of the handler's transaction. */
class TransactionalInterceptor implements NestInterceptor {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const exchange = exchangeOf(context);
    const owner = randomUUID();
    return new Observable((subscriber) => {
      asyncClaims
        .add(claimValues(exchange, owner))
        .then(async (row) => {
          if (!row || row.fingerprint) throw new InProgress();
          const { release } = await this.dataSource.transaction((manager) =>
            this.complete(exchange, owner, manager, next, subscriber),
          );
          release();
        })
        .catch((error: unknown) => subscriber.error(error));
    });
  }

  private async complete(
    exchange: Exchange,
    owner: string,
    manager: EntityManager,
    next: CallHandler,
    subscriber: Subscriber<unknown>,
  ): Promise<Captured> {
    exchange.request.manager = manager;
    const captured = await new Promise<Captured>((resolve, reject) => {
      capture(exchange, resolve);
      subscribeWithin(exchange, next, subscriber, reject);
    });
    const { status, head, body } = captured;
    const values = [[exchange.id], [owner], [status], [head], [body]];
    const client = (await manager.queryRunner?.connect()) as pg.PoolClient;
    const { rows } = await client.query({ name: 'floor_complete_within', text: COMPLETE, values });
    if (rows.length === 0) throw new Error('The lease was lost');
    return captured;
  }
}

@Controller()
@UseFilters(InProgressFilter)
class FloorController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  @UseInterceptors(FloorInterceptor)
  create(@Body() body: NewCharge) {
    return inCall(() => charge(this.dataSource, body));
  }

  @Post('orders')
  @UseInterceptors(FloorInterceptor)
  createOrder(@Body() body: NewOrder) {
    return inCall(() => order(this.dataSource, body));
  }

  @Post('paced')
  @UseInterceptors(FloorInterceptor)
  createPaced(@Body() body: NewCharge) {
    return inCall(() => pacedCharge(this.dataSource, body));
  }

  @Post('transactional')
  @UseInterceptors(TransactionalInterceptor)
  createWithin(@Body() body: NewCharge, @Req() { manager }: { manager: EntityManager }) {
    return inCall(() => charge(manager, body));
  }

  @Post('slow')
  @UseInterceptors(FloorInterceptor)
  async slow(@Body() { ms }: { ms: number }) {
    await sleep(ms);
    return { id: randomUUID() };
  }
}

await serve([FloorController]);
