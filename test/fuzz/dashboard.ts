import { equal, ok } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import fc from 'fast-check';
import { Dashboard } from '../../lib/dashboard/dashboard.js';
import { DashboardController } from '../../lib/dashboard/dashboard.controller.js';
import { IdempotencyDashboardModule } from '../../lib/dashboard/index.js';
import { IdempotencyModule, IdempotencyService } from '../../lib/index.js';
import { BODIES, QUERIES } from './corpus/dashboard.js';
import { property, type Property, textOf } from './property.js';

const RECORDS = 7;

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'better-sqlite3', database: ':memory:', autoLoadEntities: true, synchronize: true }),
    IdempotencyModule.forRoot({ audit: 'off', sweep: false }),
    IdempotencyDashboardModule.forRoot({ public: true, actions: true }),
  ],
})
class OperatedModule {}

let started: Promise<{ app: INestApplicationContext; controller: DashboardController }> | undefined;

/** With some records of two operations. */
const start = () =>
  (started ??= NestFactory.createApplicationContext(OperatedModule, { logger: false }).then(async (app) => {
    const service = app.get(IdempotencyService);
    for (let i = 0; i < RECORDS; i++) await service.run({ key: String(i), operation: `o${i % 2}` }, () => i);
    return { app, controller: new DashboardController(app.get(Dashboard)) };
  }));

export async function closeDashboard(): Promise<void> {
  if (started) await (await started).app.close();
  started = undefined;
}

/** A response that keeps what is sent. */
class Sent {
  code = 0;
  body = '';

  status(code: number): this {
    this.code = code;
    return this;
  }

  header(): this {
    return this;
  }

  send(body: string | Buffer): void {
    this.body = body.toString();
  }
}

interface Answer {
  readonly status: number;
  readonly body: { records?: unknown[]; cursor?: string | null; error?: { code: string; message: string } };
}

async function ask(route: 'records' | 'record' | 'bulk' | 'act', request: object): Promise<Answer> {
  const { controller } = await start();
  const sent = new Sent();
  const headers = { 'x-idempotency-dashboard': '1', 'content-type': 'application/json' };
  await controller[route]({ url: '/', headers, params: {}, ...request } as never, sent as never);
  return { status: sent.code, body: JSON.parse(sent.body) as Answer['body'] };
}

const list = (query: readonly (readonly [string, string])[]) => {
  const parameters = new URLSearchParams(query.map(([key, text]): [string, string] => [key, text]));
  return ask('records', { url: `/idempotency/api/records?${parameters.toString()}` });
};

/** An input may be refused. It is never the database's trouble, nor a defect. */
function refusedOrDone({ status, body }: Answer): void {
  if (status === 200) return equal(body.error, undefined);
  ok(status >= 400 && status < 500, `${status} ${JSON.stringify(body)}`);
  ok(typeof body.error?.code === 'string' && body.error.message !== '');
}

/** Parameters with values that are good, by what the page's contract says of each. */
const GOOD = {
  status: fc.constantFrom('processing', 'done', 'failed', 'held'),
  operation: fc.constantFrom('o0', 'o1', 'POST /none', 'é\ud800\0'),
  scope: fc.string({ minLength: 1, maxLength: 5 }),
  minAge: fc.integer({ min: 0, max: 316_224_000 }).map(String),
  maxAge: fc.integer({ min: 0, max: 316_224_000 }).map(String),
  order: fc.constantFrom('newest', 'oldest'),
  limit: fc.integer({ min: 1, max: 200 }).map(String),
};
const good = fc.record(
  {
    status: GOOD.status,
    operation: GOOD.operation,
    minAge: GOOD.minAge,
    maxAge: GOOD.maxAge,
    order: GOOD.order,
    limit: GOOD.limit,
  },
  { requiredKeys: [] },
);
const name = fc.oneof(
  fc.constantFrom(
    'status',
    'operation',
    'minAge',
    'maxAge',
    'order',
    'limit',
    'cursor',
    'id',
    'key',
    'scope',
    'host',
    '__proto__',
    'constructor',
  ),
  fc.string({ maxLength: 4 }),
);
const value = fc.oneof(
  fc.string({ maxLength: 8 }),
  textOf('0123456789.-+e ', 6),
  fc.constantFrom('done', 'newest', '1', '50', ''),
  fc.uuid(),
);

const cursorPart = fc.oneof(
  fc.jsonValue({ maxDepth: 1 }),
  fc.uuid(),
  fc.constantFrom('created', 'expiry', '2026-02-31 10:00:00+00', '9'.repeat(15)),
  fc.integer(),
);
const cursor = fc.oneof(
  fc.string(),
  fc.base64String(),
  fc.array(cursorPart, { maxLength: 5 }).map((parts) => Buffer.from(JSON.stringify(parts)).toString('base64url')),
);

const body: fc.Arbitrary<unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.record(
    {
      action: fc.oneof(
        fc.constantFrom('resolve', 'release', 'forget', 'toString', '__proto__'),
        fc.jsonValue({ maxDepth: 0 }),
      ),
      reason: fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 0 })),
      ids: fc.oneof(
        fc.jsonValue({ maxDepth: 1 }),
        fc.array(fc.oneof(fc.uuid(), fc.string(), fc.integer()), { maxLength: 3 }),
      ),
      tokens: fc.jsonValue({ maxDepth: 1 }),
      token: fc.jsonValue({ maxDepth: 0 }),
      evenIfRunning: fc.oneof(fc.boolean(), fc.jsonValue({ maxDepth: 0 })),
      outcome: fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.record(
          {
            status: fc.oneof(fc.integer({ min: 0, max: 999 }), fc.jsonValue({ maxDepth: 0 })),
            headers: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.jsonValue()),
            body: fc.jsonValue({ maxDepth: 1 }),
            value: fc.jsonValue({ maxDepth: 1 }),
          },
          { requiredKeys: [] },
        ),
      ),
    },
    { requiredKeys: [] },
  ),
);

export const dashboard: readonly Property[] = [
  property('filters that the contract has are taken', [good], async (query) => {
    const { status, body: page } = await list(Object.entries(query));
    equal(status, 200, JSON.stringify(page));
    const limit = Number(query.limit ?? 50);
    ok(page.records!.length <= limit && page.records!.length <= RECORDS);
  }),
  property(
    'a limit and an age out of their bounds are refused by name',
    [fc.constantFrom('limit', 'minAge', 'maxAge'), fc.oneof(fc.integer().map(String), textOf('0123456789.-+e x', 12))],
    async (parameter, text) => {
      const [least, most] = parameter === 'limit' ? [1n, 200n] : [0n, 316_224_000n];
      const isIn = /^[0-9]{1,10}$/.test(text) && BigInt(text) >= least && BigInt(text) <= most;
      const { status, body: page } = await list([[parameter, text]]);
      equal(status, isIn ? 200 : 400, JSON.stringify(page));
      if (!isIn) ok(page.error!.message.includes(`\`${parameter}\``));
    },
  ),
  property(
    'whatever a query says, it is answered or refused',
    [fc.array(fc.tuple(name, value), { maxLength: 4 })],
    async (query) => refusedOrDone(await list(query)),
    QUERIES,
  ),
  property('a cursor goes on from its place, or is refused', [cursor, good], async (text, query) => {
    refusedOrDone(await list([...Object.entries(query), ['cursor', text]]));
    const first = await list([...Object.entries(query), ['limit', '1']]);
    if (!first.body.cursor) return;
    equal((await list([...Object.entries(query), ['limit', '1'], ['cursor', first.body.cursor]])).status, 200);
    // Of other filters.
    const others = Object.entries({ ...query, order: query.order === 'oldest' ? 'newest' : 'oldest' });
    equal((await list([...others, ['cursor', first.body.cursor]])).body.error?.code, 'bad-cursor');
  }),
  property(
    'an id is one of a record, or is refused',
    [fc.oneof(fc.string(), fc.uuid(), textOf('0123456789abcdef-', 36))],
    async (id) => {
      const isOne = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(id);
      equal((await ask('record', { params: { id } })).status, isOne ? 404 : 400);
    },
  ),
  property(
    'whatever an operator sends, it is done or refused',
    [fc.constantFrom('resolve', 'release', 'forget', 'constructor', '__proto__', ''), body],
    async (action, sent) => {
      refusedOrDone(await ask('act', { params: { id: randomUUID(), action }, body: sent }));
      refusedOrDone(await ask('bulk', { body: sent }));
    },
    BODIES,
  ),
];
