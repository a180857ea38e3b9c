import { once } from 'node:events';
import { type IncomingMessage, request, type RequestOptions, type ServerResponse } from 'node:http';
import {
  type ArgumentsHost,
  Body,
  type CallHandler,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  Injectable,
  type INestApplication,
  Module,
  type NestInterceptor,
  Post,
  SetMetadata,
  UnauthorizedException,
  ValidationPipe,
  VersioningType,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, Reflector } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import helmet from 'helmet';
import { map } from 'rxjs';
import { DataSource } from 'typeorm';
import { IdempotencyDashboardModule } from '../../../lib/dashboard/index.js';
import type { BulkResult, RecordDetail, RecordPage, TickEvent } from '../../../lib/dashboard/contract.js';
import {
  type Execution,
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotencyService,
  IdempotentExecution,
} from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { type Answer, call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

const Public = () => SetMetadata('isPublic', true);

/** Of the application: refuses all that is not public. */
@Injectable()
class TokenGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    if (this.reflector.getAllAndOverride('isPublic', [context.getHandler(), context.getClass()])) return true;
    throw new UnauthorizedException('a token is missing');
  }
}

@Injectable()
class Staff {
  readonly names = ['ada', 'grace'];
}

@Module({ providers: [Staff], exports: [Staff] })
class StaffModule {}

interface GuardedRequest {
  readonly headers: Record<string, string>;
  user?: object;
}

/** Of the dashboard: a guard with a dependency of its own. */
@Injectable()
class OperatorGuard implements CanActivate {
  constructor(private readonly staff: Staff) {}

  /** Requests that wait to be let in, and how many of their clients are gone. */
  static readonly waiting: (() => void)[] = [];
  static gone = 0;

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<GuardedRequest>();
    const name = request.headers['x-operator'];
    if (request.headers['x-operator-slow']) {
      const response = context.switchToHttp().getResponse<ServerResponse & { raw?: ServerResponse }>();
      (response.raw ?? response).once('close', () => OperatorGuard.gone++);
      await new Promise<void>((decide) => OperatorGuard.waiting.push(decide));
    }
    if (!this.staff.names.includes(name)) throw new ForbiddenException('no operator');
    request.user = { username: name };
    return true;
  }
}

/** What applications do around every route, all of which would break a page that relies on Nest's own answers. */
@Injectable()
class Envelope implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((data: unknown) => ({ data })));
  }
}

@Catch()
class TeapotFilter implements ExceptionFilter {
  catch(error: Error & { getStatus?: () => number }, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<{ status(code: number): { send(body: object): void } }>();
    response.status(error.getStatus?.() ?? 500).send({ oops: error.message });
  }
}

@Public()
@Controller({ path: 'payments', version: '1' })
class PaymentsController {
  @Post()
  @Idempotent()
  async pay(@Body() { amount }: { amount: number }, @IdempotentExecution() execution: Execution) {
    await execution.step('charge', () => ({ id: 'ch_1', secret: 'step-secret' }));
    return { id: 'pay_81', amount, secret: 'response-secret' };
  }
}

class AllLines extends LogLines {
  override log = (...parts: unknown[]): void => void this.lines.push(`LOG ${parts.join(' ')}`);
}

const logs = new AllLines();
const BASE = '/ops/tools/idempotency';
const ADA = { 'x-operator': 'ada' };
const POST = { ...ADA, 'x-idempotency-dashboard': '1' };

describe.each([
  ['Express', 'mariadb'],
  ['Fastify', 'better-sqlite3'],
] as const)('The page for operators on %s and %s', (platform, dialect) => {
  let database: TestDatabase;
  let app: INestApplication;
  let origin: string;
  let records: { find(): Promise<IdempotencyRecord[]>; update(id: string, to: object): Promise<unknown> };

  async function boot(options: { actions?: boolean }): Promise<INestApplication> {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({
          request: { redact: ['/card'] },
          audit: 'error',
          afterCrash: 'hold',
          ...(platform === 'Fastify' && { encryption: { keys: { one: Buffer.alloc(32, 1) }, current: 'one' } }),
        }),
        IdempotencyDashboardModule.forRootAsync({
          path: 'tools/idempotency',
          guards: [OperatorGuard],
          imports: [StaffModule],
          decorators: [Public()],
          useFactory: () => ({ ...options, redact: ['/secret', '/data/secret'] }),
        }),
      ],
      controllers: [PaymentsController],
      providers: [
        { provide: APP_GUARD, useClass: TokenGuard },
        { provide: APP_INTERCEPTOR, useClass: Envelope },
        { provide: APP_FILTER, useClass: TeapotFilter },
        { provide: APP_PIPE, useFactory: () => new ValidationPipe({ whitelist: true, forbidNonWhitelisted: true }) },
      ],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] })
      .setLogger(logs)
      .compile();
    const adapter = platform === 'Express' ? new ExpressAdapter() : new FastifyAdapter();
    const made = module.createNestApplication<NestExpressApplication>(adapter as ExpressAdapter);
    made.setGlobalPrefix('ops');
    made.enableVersioning({ type: VersioningType.URI });
    if (platform === 'Express') made.use(helmet());
    await made.listen(0, '127.0.0.1');
    return made;
  }

  beforeAll(async () => {
    database = await createDatabase(dialect);
    app = await boot({ actions: true });
    origin = await app.getUrl();
    records = app.get(DataSource).getRepository(IdempotencyRecord);
  });
  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const pay = (key: string, body: object = { amount: 5 }) => call(`${origin}/ops/v1/payments`, { key, body });
  const get = (path: string, headers: Record<string, string> = ADA) =>
    call(`${origin}${BASE}${path}`, { method: 'GET', body: undefined, headers });
  const post = (path: string, body: object, headers: Record<string, string> = POST) =>
    call(`${origin}${BASE}${path}`, { body, headers });
  const json = <T>({ body }: Answer) => JSON.parse(body) as T;
  const codeOf = (answer: Answer) => `${answer.status} ${json<{ error?: { code: string } }>(answer).error?.code}`;

  /** By what must not be in a URL. */
  async function lookup(hidden: Record<string, string>, operation = 'POST /ops/v1/payments'): Promise<RecordPage> {
    const headers = { ...ADA, 'x-idempotency-lookup': String(new URLSearchParams(hidden)) };
    return json(await get(`/api/records?operation=${encodeURIComponent(operation)}`, headers));
  }

  async function record(key: string, to: object = {}): Promise<string> {
    await pay(key);
    const [{ id }] = (await lookup({ key })).records;
    if (Object.keys(to).length > 0) await records.update(id, to);
    return id;
  }

  const held = (key: string) =>
    record(key, { status: 'held', responseCode: null, responseHead: null, responseBody: null });

  test('is a static page below any prefix, with a strict policy, behind its guard', async () => {
    const bare = await get('');
    expect([bare.status, bare.headers.location]).toEqual([302, 'idempotency/index.html']);

    const page = await get('/index.html');
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'self'; style-src 'self';/,
    );
    expect(page.headers['content-security-policy']).not.toContain('unsafe');
    expect(page.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' });
    const references = [...page.body.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, name]) => name);
    expect(references.length).toBeGreaterThan(1);
    for (const name of references) {
      expect(name).toMatch(/^[\w.-]+$/);
      const file = await get(`/${name}`);
      expect([name, file.status, file.headers['content-security-policy']]).toEqual([name, 200, expect.any(String)]);
    }
    expect(page.body).not.toMatch(/<style|style="|<script(?![^>]*src=)|\son\w+=/);
    expect(codeOf(await get('/..%2fdashboard.js'))).toBe('404 not-found');

    const routes = [
      '',
      '/index.html',
      '/app.js',
      '/api/info',
      '/api/records',
      '/api/records/x',
      '/api/activity',
      '/api/events',
    ];
    for (const path of routes) {
      const refused = await get(path, {});
      expect([path, refused.status, refused.body]).toEqual([path, 403, expect.stringContaining('no operator')]);
    }
    expect((await post('/api/bulk', {}, { 'x-idempotency-dashboard': '1' })).status).toBe(403);
    expect(json(await get('/api/info'))).toMatchObject({
      actions: true,
      actor: 'ada',
      encrypted: platform === 'Fastify',
    });
  });

  test('shows a record as a timeline, decoded and redacted', async () => {
    const sent = { amount: 51.5, card: '4242', secret: 'request-secret', items: [1] };
    expect((await pay('shown', sent)).status).toBe(201);
    expect((await pay('shown', sent)).headers['idempotent-replayed']).toBe('true');
    const id = await record('shown');
    const answer = await get(`/api/records/${id}`);
    const detail = json<RecordDetail>(answer);
    expect(detail).toMatchObject({
      id,
      operation: 'POST /ops/v1/payments',
      status: 'done',
      responseCode: 201,
      request: {
        method: 'POST',
        path: '/ops/v1/payments',
        body: { kind: 'json', redacted: true, text: expect.stringContaining('"card": "[redacted]"') },
      },
      response: { kind: 'http', status: 201, body: { kind: 'json', redacted: true } },
      actions: ['forget'],
      resolvesWith: 'response',
    });
    expect(answer.body).not.toMatch(/4242|request-secret|response-secret|step-secret/);
    expect(detail.timeline.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['created', 'step', 'completed', 'replayed', 'expires']),
    );
    expect(detail.timeline.at(-1)).toMatchObject({ kind: 'expires', past: false });
    expect(detail.timeline.findIndex(({ kind }) => kind === 'completed')).toBeLessThan(
      detail.timeline.findIndex(({ kind }) => kind === 'replayed'),
    );
    expect(codeOf(await get('/api/records/0f8fad5b-d9cb-469f-a165-70867728950e'))).toBe('404 not-found');
    expect(codeOf(await get('/api/records/1'))).toBe('400 bad-request');
  });

  /** Returns the id of a record that is released, and has run a step. */
  const released = async (key: string) => {
    const running = app.get(IdempotencyService).run({ key, operation: 'settle' }, async (execution) => {
      await execution.step('charge', () => 'ch_1');
      throw new Error('the bank is closed');
    });
    await expect(running).rejects.toThrow('the bank is closed');
    return (await lookup({ key }, 'settle')).records[0].id;
  };

  test('a released record whose steps have run has no date of expiry', async () => {
    const detail = json<RecordDetail>(await get(`/api/records/${await released('stays')}`));
    expect(detail).toMatchObject({ status: 'failed', expiresAt: null });
    expect(detail.timeline.map(({ kind }) => kind)).not.toContain('expires');
    expect(detail.timeline.at(-1)).toMatchObject({ kind: 'released' });
  });

  test('attempts come before their outcome, where the clock of the process is ahead of the database', async () => {
    const id = await released('ahead');
    await records.update(id, { leaseUntil: new Date(0) });
    const detail = json<RecordDetail>(await get(`/api/records/${id}`));
    expect(detail.timeline.at(-1)).toMatchObject({ kind: 'released' });
  });

  // The log said that the store refused a statement, and not why.
  test('logs what the database said of an action that it refuses', async () => {
    const id = await held('refused');
    const refuse =
      dialect === 'mariadb'
        ? `FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no writes today'`
        : `BEGIN SELECT RAISE(ABORT, 'no writes today'); END`;
    const data = app.get(DataSource);
    await data.query(`CREATE TRIGGER no_writes BEFORE UPDATE ON idempotency_record ${refuse}`);
    const answer = await post(`/api/records/${id}/release`, { reason: 'x' });
    await data.query('DROP TRIGGER no_writes');
    expect(codeOf(answer)).toBe('503 store-unavailable');
    expect(logs.lines.at(-1)).toMatch(/^ERROR The database could not be asked: no writes today/);
  });

  test('lists by status, operation, age, key and page', async () => {
    const ids = [await record('list-1'), await record('list-2'), await held('list-3')];
    const list = async (query: string) => json<RecordPage>(await get(`/api/records?${query}`));
    const heldOnes = await list('status=held');
    expect(heldOnes.records).toContainEqual(
      expect.objectContaining({ id: ids[2], status: 'held', responseCode: null }),
    );
    expect(heldOnes.records.every(({ status }) => status === 'held')).toBe(true);

    const all = await list('limit=200');
    expect(all).toMatchObject({ cursor: null, partial: false, orderedBy: 'created' });
    const times = all.records.map(({ createdAt }) => createdAt);
    expect(times).toEqual(times.toSorted().reverse());
    const paged: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: RecordPage = await list(`limit=2${cursor && `&cursor=${cursor}`}`);
      paged.push(...page.records.map(({ id }) => id));
      cursor = page.cursor;
    }
    expect(paged.toSorted()).toEqual(all.records.map(({ id }) => id).toSorted());
    expect((await list('order=oldest')).records[0].id).toBe(all.records.at(-1)!.id);

    expect((await list('operation=POST%20/none')).records).toEqual([]);
    expect((await list('minAge=3600')).records).toEqual([]);
    expect((await list('maxAge=3600')).records.length).toBe(all.records.length);
    expect((await list(`id=${ids[0]}`)).records).toMatchObject([{ id: ids[0] }]);
    expect((await lookup({ key: 'never' })).records).toEqual([]);
    expect((await lookup({ scope: 'nobody' })).records).toEqual([]);
    const { cursor } = await list('limit=1');
    expect(codeOf(await get(`/api/records?limit=1&status=done&cursor=${cursor}`))).toBe('400 bad-cursor');
    for (const wrong of [
      'status=old',
      'limit=0',
      'limit=201',
      'order=x',
      'minAge=-1',
      'cursor=x',
      'key=k&operation=POST%20/ops/v1/payments',
      'scope=s',
      'whatever=1',
    ]) {
      expect([wrong, (await get(`/api/records?${wrong}`)).status]).toEqual([wrong, 400]);
    }
  });

  test('refuses what another site makes a browser send', async () => {
    const id = await held('csrf');
    const release = `/api/records/${id}/release`;
    const why = { reason: 'csrf' };
    const { 'x-idempotency-dashboard': _, ...plain } = POST as Record<string, string>;
    expect(codeOf(await post(release, why, plain))).toBe('403 cross-site');
    expect(codeOf(await post(release, why, { ...POST, 'sec-fetch-site': 'cross-site' }))).toBe('403 cross-site');
    expect(codeOf(await post(release, why, { ...POST, 'sec-fetch-site': 'same-site' }))).toBe('403 cross-site');
    expect(codeOf(await post(release, why, { ...POST, origin: 'https://evil.example' }))).toBe('403 cross-site');
    expect(codeOf(await post(release, why, { ...POST, origin: 'null' }))).toBe('403 cross-site');
    // Parsers of the platform may refuse another type before a route sees it.
    const form = await post(release, why, { ...POST, 'content-type': 'text/plain' });
    expect(form.status).toBe(415);
    for (const path of ['/api/records', '/api/events', '/app.js']) {
      expect(codeOf(await get(path, { ...ADA, 'sec-fetch-site': 'cross-site' }))).toBe('403 cross-site');
    }
    const followed = { ...ADA, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    expect((await get('/index.html', followed)).status).toBe(200);
    expect(json<RecordDetail>(await get(`/api/records/${id}`)).status).toBe('held');
    expect((await post(release, why, { ...POST, 'sec-fetch-site': 'same-origin', origin })).status).toBe(200);
  });

  test('settles records, with a reason that is logged', async () => {
    const id = await held('resolved');
    const resolve = (body: object) => post(`/api/records/${id}/resolve`, body);
    const outcome = { status: 201, body: '{"id":"pay_82"}' };
    for (const wrong of [
      {},
      { outcome },
      { reason: ' ', outcome },
      { reason: 'x' },
      { reason: 'x', outcome: { status: 99 } },
      { reason: 'x', outcome: { status: 201, headers: { 'a\nb': 'c' } } },
      { reason: 'x', outcome: { status: 201, headers: { 'Content-Length': '1' } } },
      { reason: 'x', outcome: { status: 201, headers: { 'set-cookie': 'a=b' } } },
      { reason: 'x', outcome: { value: 1 } },
      { reason: 'x', outcome, token: '1' },
    ]) {
      expect([wrong, codeOf(await resolve(wrong))]).toEqual([wrong, '400 bad-request']);
    }
    expect(json<RecordDetail>(await get(`/api/records/${id}`)).actions).toEqual(['resolve', 'release', 'forget']);
    const done = await resolve({ reason: 'found at the\nprovider', outcome });
    expect([done.status, json(done)]).toEqual([200, expect.objectContaining({ id, action: 'resolve' })]);
    const replay = await pay('resolved');
    expect([replay.status, replay.body]).toEqual([201, outcome.body]);
    expect(replay.headers['content-type']).toContain('application/json');
    expect(codeOf(await resolve({ reason: 'again', outcome }))).toBe('409 not-held');
    expect(logs.lines.join('\n')).toContain(
      `"ada" resolved ${id} ("POST /ops/v1/payments") with 201: "found at the\\nprovider"`,
    );

    const job = { key: 'job', operation: 'payout', input: { to: 'bob' } };
    await app.get(IdempotencyService).run(job, () => ({ paid: 1 }));
    const { id: jobId } = (await app.get(IdempotencyService).find({ key: 'job', operation: 'payout' }))!;
    expect(json(await get(`/api/records/${jobId}`))).toMatchObject({
      request: { method: null, body: { text: expect.stringContaining('bob') } },
      response: { kind: 'value', body: { text: expect.stringContaining('paid') } },
      resolvesWith: 'value',
    });
    await records.update(jobId, { status: 'held' });
    expect(codeOf(await post(`/api/records/${jobId}/resolve`, { reason: 'x', outcome }))).toBe('400 bad-request');
    const settle = { reason: 'paid by hand', outcome: { value: { paid: 2 } } };
    expect((await post(`/api/records/${jobId}/resolve`, settle)).status).toBe(200);
    expect(await app.get(IdempotencyService).run(job, () => ({ paid: 3 }))).toEqual({ paid: 2 });

    // Another attempt has been held since the page showed the first: what was found out is not about it.
    const again = await held('attempt-2');
    await records.update(again, { token: 2, attempt: 2 });
    for (const action of ['resolve', 'release', 'forget']) {
      const stale = { reason: 'x', token: 1, ...(action === 'resolve' && { outcome }) };
      expect([action, codeOf(await post(`/api/records/${again}/${action}`, stale))]).toEqual([action, '409 changed']);
    }
    const stale = await post('/api/bulk', { action: 'release', ids: [again], tokens: { [again]: 1 }, reason: 'x' });
    expect(json<BulkResult>(stale).results).toMatchObject([{ ok: false, error: { code: 'changed' } }]);
    expect((await post(`/api/records/${again}/release`, { reason: 'x', token: 2 })).status).toBe(200);

    const running = await record('running', { status: 'processing', leaseUntil: new Date(Date.now() + 60_000) });
    const forget = (more: object) => post(`/api/records/${running}/forget`, { reason: 'erased', ...more });
    expect(codeOf(await forget({}))).toBe('409 running');
    expect(json(await forget({ evenIfRunning: true }))).toMatchObject({ id: running, record: null });
    expect(codeOf(await forget({}))).toBe('404 not-found');
    expect(codeOf(await post(`/api/records/${id}/explode`, { reason: 'x' }))).toBe('400 bad-request');
  });

  test('settles a selection, each record by itself', async () => {
    const ids = [await held('bulk-1'), await record('bulk-2'), await held('bulk-3')];
    const answer = await post('/api/bulk', { action: 'release', ids, reason: 'outage of the provider' });
    expect(json<BulkResult>(answer)).toEqual({
      action: 'release',
      done: 2,
      failed: 1,
      results: [
        { id: ids[0], ok: true },
        { id: ids[1], ok: false, error: { code: 'not-held', message: 'The record is not held, but done' } },
        { id: ids[2], ok: true },
      ],
    });
    for (const wrong of [[], Array(101).fill(ids[0]), ['x'], 'x']) {
      expect(codeOf(await post('/api/bulk', { action: 'release', ids: wrong, reason: 'x' }))).toBe('400 bad-request');
    }
  });

  test('has room for streams again once their clients are gone', async () => {
    const ask = (more: RequestOptions) =>
      request(`${origin}${BASE}/api/events`, {
        agent: false,
        ...more,
        headers: { ...ADA, ...(more.headers as object) },
      })
        .on('error', () => undefined)
        .end();
    // Gone while the guard decides: their `close` has been before there is a stream.
    for (let i = 0; i < 51; i++) {
      const asked = ask({ headers: { 'x-operator-slow': '1' } });
      await until(() => OperatorGuard.waiting.length > i);
      asked.destroy();
    }
    await until(() => OperatorGuard.gone === 51);
    for (const decide of OperatorGuard.waiting.splice(0)) decide();
    OperatorGuard.gone = 0;
    for (let i = 0; i < 51; i++) {
      const [head] = (await once(ask({ method: 'HEAD' }), 'response')) as [IncomingMessage];
      expect([head.statusCode, head.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
    }
    const asked = ask({});
    const [stream] = (await once(asked, 'response')) as [IncomingMessage];
    expect(stream.statusCode).toBe(200);
    asked.destroy();
  });

  test('sends what happens, and stops when the application does', async () => {
    const other = await boot({});
    const url = await other.getUrl();
    const response = await fetch(`${url}${BASE}/api/events`, { headers: ADA });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    let text = '';
    let hasEnded = false;
    const reading = (async () => {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
      hasEnded = true;
    })();
    await until(() => text.includes('event: hello'));
    await call(`${url}/ops/v1/payments`, { key: 'live' });
    await until(() => text.includes('event: tick'));
    const tick = JSON.parse(/event: tick\ndata: (.*)/.exec(text)![1]) as TickEvent;
    expect(tick).toMatchObject({ totals: { claims: 1, completions: 1, failures: 0 }, more: 0 });
    expect(tick.records).toMatchObject([{ operation: 'POST /ops/v1/payments', type: 'completed' }]);
    const activity = await call(`${url}${BASE}/api/activity`, { method: 'GET', headers: ADA });
    expect(json(activity)).toMatchObject({ inMemory: true, totals: { claims: 1, replays: 0 } });

    // Without the option `actions`, the same records can only be looked at.
    const id = await held('read-only');
    const act = await call(`${url}${BASE}/api/records/${id}/release`, { headers: POST, body: { reason: 'x' } });
    expect(codeOf(act)).toBe('403 actions-off');
    const detail = await call(`${url}${BASE}/api/records/${id}`, { method: 'GET', headers: ADA });
    expect(json<RecordDetail>(detail)).toMatchObject({ status: 'held', actions: [] });

    await other.close();
    await reading;
    expect(hasEnded).toBe(true);
  });
});

describe('IdempotencyDashboardModule refuses to start', () => {
  class Guard implements CanActivate {
    canActivate(): boolean {
      return true;
    }
  }

  test.each([
    ['without a guard', {}, /option `guards` must name at least one guard.*public: true/],
    ['with no guard in the list', { guards: [] }, /option `guards` must name at least one/],
    ['with what is no guard', { guards: [class {}] }, /option `guards` must be an array of guards/],
    ['with a path that has parameters', { guards: [Guard], path: ':tenant/x' }, /option `path` must be a path/],
    ['at the root', { guards: [Guard], path: '/' }, /option `path` must be a path/],
  ])('%s', (_, options, message) => {
    expect(() => IdempotencyDashboardModule.forRoot(options as never)).toThrow(message);
  });

  test.each([
    [
      'with an option that does not exist',
      { action: true },
      /IdempotencyDashboardModule: option `action` does not exist/,
    ],
    [
      'with a pointer that leads nowhere',
      { redact: ['card'] },
      /IdempotencyDashboardModule: option `redact` must hold/,
    ],
  ])('%s', async (_, options, message) => {
    await expect(
      start(IdempotencyDashboardModule.forRoot({ guards: [new Guard()], ...(options as object) })),
    ).rejects.toThrow(message);
  });

  test('imported without forRoot()', async () => {
    await expect(start(IdempotencyDashboardModule)).rejects.toThrow(/import it as forRoot\(/);
  });

  test('but not where it is said to be public', async () => {
    const module = await start(IdempotencyDashboardModule.forRoot({ public: true }));
    await module.close();
  });

  async function start(dashboard: unknown) {
    const database = await createDatabase('better-sqlite3');
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot(),
        dashboard as typeof IdempotencyDashboardModule,
      ],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] })
      .setLogger(logs)
      .compile();
    return module.createNestApplication().init();
  }
});
