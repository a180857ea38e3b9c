import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { type LoggerService, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Idempotent, IdempotencyModule } from 'nestjs-idempotency';
import { nameOf, type RawAnswer, type RawRequest, send, valueOf } from '../conformance/support/raw-http.js';
import { until } from '../support/until.js';
import {
  type Adapter,
  type Application,
  type Client,
  Effects,
  EffectsModule,
  type Exchange,
  type Field,
  type NestApplication,
} from './harness.js';

/** Of one message, or of one connection: no two answers need to agree in them. How a body ends is looked at by itself. */
const OF_ONE_MESSAGE = ['date:', 'connection:', 'keep-alive:', 'transfer-encoding:'];
const REPLAYED = 'idempotent-replayed';
const DUPLICATES = 3;
const PATIENCE = 2_000;

/** Runs an application bare, first and replayed. Returns in what they differ: nothing, where all is well. */
export async function differencesOf(application: Application, adapter: Adapter): Promise<string[]> {
  const differences: string[] = [];
  // One after the other: Nest's logger, and much of what packages keep, is there once in a process.
  const { answers, log } = await using(application, adapter, false, async (bare) => {
    const expected: RawAnswer[] = [];
    for (const exchange of application.exchanges) expected.push(await runBare(exchange, bare, differences));
    return { answers: expected, log: bare.log };
  });
  await using(application, adapter, true, async (idempotent) => {
    for (const [i, exchange] of application.exchanges.entries()) {
      await runIdempotent(exchange, idempotent, answers[i], differences);
    }
    for (const line of new Set(idempotent.log)) {
      if (log.includes(line) || application.logs?.some((known) => known.test(line))) continue;
      differences.push(`logged: ${line}`);
    }
  });
  return differences;
}

async function using<T>(
  application: Application,
  adapter: Adapter,
  idempotent: boolean,
  work: (app: Running) => Promise<T>,
) {
  const app = await boot(application, adapter, idempotent);
  try {
    return await work(app);
  } finally {
    await app.close();
  }
}

const effectsOf = ({ status, effects = status < 400 ? 1 : 0 }: Exchange) => effects;

async function runBare(exchange: Exchange, bare: Running, differences: string[]): Promise<RawAnswer> {
  const differ = differing(`${exchange.name}, bare`, differences);
  const answer = await sendNoting(bare, await bare.begin(exchange, randomUUID()), exchange.notes, differ);
  differ('status', answer.status, exchange.status);
  differ('number of effects', (await bare.effects()).length, effectsOf(exchange));
  return answer;
}

async function runIdempotent(exchange: Exchange, app: Running, expected: RawAnswer, differences: string[]) {
  const { name, status, retry = status < 500 ? 'replayed' : 'rerun', notes, notesOfReplay = notes } = exchange;
  const effects = effectsOf(exchange);
  const replayed = retry === 'replayed';

  const differFirst = differing(`${name}, first`, differences);
  const request = await app.begin(exchange, randomUUID());
  const first = await sendNoting(app, request, notes, differFirst);
  compareAnswers(first, expected, exchange, false, differFirst);
  differFirst('number of effects', (await app.effects()).length, effects);

  const differRetry = differing(`${name}, ${retry}`, differences);
  const retried = await sendNoting(app, request, replayed ? notesOfReplay : notes, differRetry);
  compareAnswers(retried, first, exchange, replayed, differRetry);
  const marked = replayed && exchange.marked !== false;
  differRetry(REPLAYED, valueOf(retried.head, REPLAYED), marked ? 'true' : undefined);
  differRetry('number of effects', (await app.effects()).length, replayed ? effects : 2 * effects);

  try {
    await exchange.check?.(app, request, { first, retried });
  } catch (error) {
    differences.push(`${name}, check: ${error instanceof Error ? error.message : String(error)}`);
  }
  app.release();
  if (replayed && effects > 0 && exchange.concurrent !== false) {
    await sendDuplicates(exchange, app, first, differing(`${name}, duplicates`, differences));
  }
}

/** Sends duplicates while the handler of the first request runs: they are refused, and the first gets its answer. */
async function sendDuplicates(exchange: Exchange, app: Running, expected: RawAnswer, differ: Differ): Promise<void> {
  const request = await app.begin(exchange, randomUUID());
  app.hold();
  let answered = 0;
  const first = app.send(request).finally(() => answered++);
  await until(() => app.begun() > 0 || answered > 0);
  const others = Array.from({ length: DUPLICATES }, () => app.send(request).finally(() => answered++));
  await until(() => answered >= DUPLICATES || app.begun() > 1);
  app.release();
  compareAnswers(await first, expected, exchange, false, differ);
  const statuses = (await Promise.all(others)).map(({ status }) => status);
  differ('statuses', statuses, Array(DUPLICATES).fill(409));
  differ('number of effects', (await app.effects()).length, effectsOf(exchange));
}

type Differ = (what: string, actual: unknown, expected: unknown) => void;

function differing(where: string, differences: string[]): Differ {
  return (what, actual, expected) => {
    const [is, ought] = [actual, expected].map((value) => JSON.stringify(value));
    if (is !== ought) differences.push(`${where}: ${what} ${is} instead of ${ought}`);
  };
}

async function sendNoting(app: Running, request: RawRequest, notes: readonly string[] | undefined, differ: Differ) {
  app.notes.length = 0;
  const answer = await app.send(request);
  if (!notes) return answer;
  await until(() => app.notes.length >= notes.length, PATIENCE).catch(() => undefined);
  differ('notes', app.notes, notes);
  return answer;
}

/** A replay is the first answer byte for byte, but for what belongs to one exchange; two executions may also differ in time. */
function compareAnswers(is: RawAnswer, ought: RawAnswer, exchange: Exchange, replayed: boolean, differ: Differ): void {
  const comparableBody = (!replayed && exchange.comparableBody) || ((body: string) => body);
  differ('status line', is.statusLine, ought.statusLine);
  const both = [is, ought].map((answer) => linesOf(answer, exchange, replayed));
  // One may come in chunks and the other with its length, as long as neither ends with the connection.
  const chunked = [is, ought].some(({ head }) => valueOf(head, 'transfer-encoding') !== undefined);
  const [lines, others] = chunked ? both.map((each) => each.filter((line) => !/^content-length:/i.test(line))) : both;
  differ('headers', lines, others);
  differ('end of the body', endOf(is), endOf(ought));
  differ('body', comparableBody(is.body.toString('latin1')), comparableBody(ought.body.toString('latin1')));
}

const endOf = ({ head }: RawAnswer) =>
  (valueOf(head, 'content-length') ?? valueOf(head, 'transfer-encoding')) ? 'known' : 'with the connection';

function linesOf({ head }: RawAnswer, { differs = {}, replayLacks = {}, comparableBody }: Exchange, replayed: boolean) {
  const masked = [...Object.keys(differs), ...(comparableBody && !replayed ? ['etag:'] : [])];
  const left = [...OF_ONE_MESSAGE, `${REPLAYED}:`, ...(replayed ? Object.keys(replayLacks) : [])];
  return head
    .filter((line) => !left.some((start) => line.toLowerCase().startsWith(start)))
    .map((line) => {
      const mask = masked.find((start) => line.toLowerCase().startsWith(start));
      return mask ? `${mask}*` : line;
    })
    .sort(byName);
}

/** The order of lines means something among those with the same name (RFC 9110, 5.3). */
const byName = (one: string, other: string) => (nameOf(one) < nameOf(other) ? -1 : nameOf(one) > nameOf(other) ? 1 : 0);

interface Running extends Client {
  readonly notes: string[];
  readonly log: string[];
  /** Empties the table of effects, and prepares the request. */
  begin(exchange: Exchange, key: string): Promise<RawRequest>;
  close(): Promise<void>;
}

const doesNothing = (() => () => undefined) as typeof Idempotent;

async function boot(
  { build, options: nest, setup }: Application,
  adapter: Adapter,
  idempotent: boolean,
): Promise<Running> {
  const notes: string[] = [];
  const log: string[] = [];
  const field: Field = {
    adapter,
    Idempotent: idempotent ? Idempotent : doesNothing,
    note: (line) => void notes.push(line),
  };
  const { imports = [], controllers, providers, options, httpAdapter, dataSourceFactory } = build(field);
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({
        useFactory: (): TypeOrmModuleOptions => ({
          type: 'better-sqlite3',
          database: ':memory:',
          autoLoadEntities: true,
          synchronize: true,
        }),
        ...(dataSourceFactory && { dataSourceFactory: dataSourceFactory as never }),
      }),
      EffectsModule,
      ...(idempotent ? [IdempotencyModule.forRoot({ audit: 'off', sweep: false, ...options })] : []),
      ...imports,
    ],
    controllers,
    providers,
  })
  class AppModule {}
  const app: NestApplication = await NestFactory.create(
    AppModule,
    httpAdapter ?? (adapter === 'express' ? new ExpressAdapter() : new FastifyAdapter()),
    { ...nest, logger: new Log(log), abortOnError: false, forceCloseConnections: true },
  );
  try {
    await setup?.(app, field);
    await app.listen(0, '127.0.0.1');
  } catch (error) {
    await app.close().catch(() => undefined);
    throw error;
  }
  const effects = app.get(Effects);
  const { port } = app.getHttpServer().address() as AddressInfo;
  const running: Running = {
    app,
    notes,
    log,
    send: (request) => send(port, request),
    effects: () => effects.all(),
    begun: () => effects.begun,
    hold: () => effects.hold(),
    release: () => effects.release(),
    close: () => app.close(),
    begin: async ({ request }, key) => {
      const prepared = typeof request === 'function' ? await request(running) : request;
      await effects.reset();
      return { key, ...prepared };
    },
  };
  return running;
}

class Log implements LoggerService {
  constructor(private readonly lines: string[]) {}
  log = (): void => undefined;
  warn = (message: unknown): void => void this.lines.push(`WARN ${String(message)}`);
  error = (message: unknown): void => void this.lines.push(`ERROR ${String(message)}`);
  fatal = (message: unknown): void => void this.lines.push(`FATAL ${String(message)}`);
}
