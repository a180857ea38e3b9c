import type { IncomingMessage, ServerResponse } from 'node:http';
import { Get, Inject, Post, Req, Res } from '@nestjs/common';
import type { RecordStatus } from '../engine/ports/record-store.js';
import { STATUSES } from '../service/filters.js';
import type { ApiErrorCode, Info, RecordQuery } from './contract.js';
import { LOOKUP_HEADER, MAX_BULK, MAX_PAGE } from './contract.js';
import { actorOf } from './actor.js';
import { Dashboard } from './dashboard.js';
import { EVENTS_TYPE } from './event-streams.js';
import { DashboardError, invalid } from './dashboard-error.js';
import { type OperatorActions, refusalOf } from './operator-actions.js';
import { PAGE } from './page-files.js';
import type { PageQuery } from './record-pages.js';
import { assertDeliberate, assertSameOrigin } from './same-origin.js';

/** A request of Express or Fastify. */
type PlatformRequest = IncomingMessage & {
  readonly originalUrl?: string;
  readonly params: Readonly<Record<string, string>>;
  readonly body?: unknown;
};

/** A response of Express, which is Node's own, or of Fastify, which has Node's as `raw`. */
interface PlatformResponse {
  readonly raw?: ServerResponse;
  hijack?(): void;
  status(code: number): this;
  header(name: string, value: string): this;
  send(body: string | Buffer): unknown;
}

/** Limits the page to its own files, and to requests to its own server. Stored content comes from clients: it could be markup. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'Cache-Control': 'no-store',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const;

const JSON_TYPE = 'application/json; charset=utf-8';

const ORDERS = ['newest', 'oldest'] as const;
const LONGEST_AGE_S = 10 * 366 * 86_400;
const FILTERS = ['status', 'operation', 'scope', 'minAge', 'maxAge'] as const;

/**
 * Routes of the page. Each writes its response itself: interceptors and filters of the application would wrap or transform what the page
 * reads. Guards of the application apply.
 */
export class DashboardController {
  constructor(@Inject(Dashboard) private readonly dashboard: Dashboard) {}

  @Get()
  page(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.answer(response, () => {
      assertSameOrigin(request.headers, { mayNavigate: true });
      const path = urlOf(request).pathname;
      if (path.endsWith('/')) return this.file(PAGE);
      // Relative, as every URL of the page, because a proxy may have removed a prefix. To the file, because Fastify finds no route for
      // a path that ends with a slash.
      const place = `${path.slice(path.lastIndexOf('/') + 1)}/${PAGE}`;
      return { status: 302, headers: { Location: place }, body: '' };
    });
  }

  @Get('api/info')
  info(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    const info = (): Info => ({
      ...this.dashboard.info(),
      maxBulk: MAX_BULK,
      maxPage: MAX_PAGE,
      actor: actorOf(request),
      now: new Date().toISOString(),
    });
    return this.read(request, response, info);
  }

  @Get('api/records')
  records(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.read(request, response, () => {
      const { key, id, ...query } = recordQuery(request);
      if (id !== undefined) return this.dashboard.listOne({ id });
      if (key !== undefined) return this.dashboard.listOne({ key, ...query });
      return this.dashboard.list(pageQuery(query));
    });
  }

  @Get('api/records/:id')
  record(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.read(request, response, () => this.dashboard.detail(request.params.id));
  }

  @Get('api/activity')
  activity(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.read(request, response, () => this.dashboard.activity());
  }

  @Get('api/events')
  async events(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    try {
      assertSameOrigin(request.headers);
      this.dashboard.streams.assertRoom();
    } catch (error) {
      return this.answer(response, () => Promise.reject(error as Error));
    }
    // A stream without a reader would occupy a place for as long as streams live.
    if (request.method === 'HEAD') {
      return this.answer(response, () => ({ status: 200, headers: { 'Content-Type': EVENTS_TYPE }, body: '' }));
    }
    response.hijack?.();
    this.dashboard.streams.open(response.raw ?? (response as unknown as ServerResponse), HEADERS);
  }

  @Post('api/bulk')
  bulk(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.change(request, response, (actions, actor) => actions.bulk(request.body, actor));
  }

  @Post('api/records/:id/:action')
  act(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    const { id, action } = request.params;
    return this.change(request, response, (actions, actor) => actions.one(action, id, request.body, actor));
  }

  @Get(':file')
  asset(@Req() request: PlatformRequest, @Res() response: PlatformResponse): Promise<void> {
    return this.answer(response, () => {
      const { file } = request.params;
      assertSameOrigin(request.headers, { mayNavigate: file === PAGE });
      return this.file(file);
    });
  }

  private file(name: string): Reply {
    const file = this.dashboard.files.get(name);
    if (!file) throw new DashboardError('not-found', 'The page has no such file');
    return { status: 200, headers: { 'Content-Type': file.type }, body: file.content };
  }

  private read(
    request: PlatformRequest,
    response: PlatformResponse,
    make: () => object | Promise<object>,
  ): Promise<void> {
    return this.answer(response, async () => {
      assertSameOrigin(request.headers);
      return jsonReply(200, await make());
    });
  }

  private change(
    request: PlatformRequest,
    response: PlatformResponse,
    work: (actions: OperatorActions, actor: string | null) => Promise<object>,
  ): Promise<void> {
    return this.answer(response, async () => {
      assertDeliberate(request.headers);
      return jsonReply(200, await work(this.dashboard.actions(), actorOf(request)));
    });
  }

  private async answer(response: PlatformResponse, make: () => Reply | Promise<Reply>): Promise<void> {
    // Inside of the promise, so that it also rejects with what `make` throws.
    const reply = await new Promise<Reply>((resolve) => resolve(make())).catch((error: unknown) => {
      const refusal = refusalOf(error);
      return jsonReply(refusal.status, refusal, refusal.code);
    });
    for (const [name, value] of Object.entries({ ...HEADERS, ...reply.headers })) response.header(name, value);
    response.status(reply.status).send(reply.body);
  }
}

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

function jsonReply(status: number, body: object, code?: ApiErrorCode): Reply {
  const mayRetry = code === 'too-many-clients' || code === 'store-unavailable';
  const headers = { 'Content-Type': JSON_TYPE, ...(mayRetry && { 'Retry-After': '30' }) };
  return { status, headers, body: JSON.stringify(body) };
}

/** Not from `url` alone: middleware of Express that is mounted at a path removes the path from it. */
function urlOf({ originalUrl, url }: PlatformRequest): URL {
  return new URL(originalUrl ?? url ?? '/', 'http://page');
}

/** Parameters that are refused in a URL, because access logs have URLs: who a customer is, and the key of their retries. */
const HIDDEN = ['key', 'scope', 'host'];

/** @throws DashboardError for a {@link HIDDEN} parameter */
function recordQuery(request: PlatformRequest): RecordQuery {
  const { searchParams } = urlOf(request);
  if (HIDDEN.some((name) => searchParams.has(name))) {
    throw invalid(
      '`key`, `scope` and `host` go into the header X-Idempotency-Lookup, in the form of a query: logs have URLs',
    );
  }
  const hidden = new URLSearchParams(String(request.headers[LOOKUP_HEADER] ?? ''));
  return Object.fromEntries([...searchParams, ...hidden]);
}

/** @throws DashboardError naming the parameter that cannot be used */
function pageQuery(query: Readonly<Record<string, string | undefined>>): PageQuery {
  const { status, operation, scope, minAge, maxAge, order = 'newest', limit = '50', cursor, ...others } = query;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    const known = [...FILTERS, 'order', 'limit', 'cursor', 'id', 'key'].join(', ');
    throw invalid(`There is no parameter of that name; there are ${known}`);
  }
  if (status !== undefined && !STATUSES.includes(status as RecordStatus)) {
    throw invalid(`\`status\` has to be one of ${STATUSES.join(', ')}`);
  }
  if (!ORDERS.includes(order as (typeof ORDERS)[number])) {
    throw invalid(`\`order\` has to be one of ${ORDERS.join(', ')}`);
  }
  for (const [name, text] of Object.entries({ operation, scope })) {
    if (text === '') throw invalid(`\`${name}\` has to be a text that is not empty`);
  }
  return {
    status: status as RecordStatus | undefined,
    operation,
    scope,
    minAgeMs: millisecondsOf('minAge', minAge),
    maxAgeMs: millisecondsOf('maxAge', maxAge),
    order: order as PageQuery['order'],
    limit: wholeNumber('limit', limit, 1, MAX_PAGE),
    cursor,
  };
}

function millisecondsOf(name: string, seconds: string | undefined): number | undefined {
  return seconds === undefined ? undefined : wholeNumber(name, seconds, 0, LONGEST_AGE_S) * 1_000;
}

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (value >= least && value <= most) return value;
  throw invalid(`\`${name}\` has to be a whole number from ${least} to ${most}`);
}
