import { randomUUID } from 'node:crypto';
import { BadRequestException, Controller, Post } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, isReplay, type ReplayCase } from './support/cases.js';
import { send, valueOf } from './support/raw-http.js';
import { rendered, ReturnValuesController, useViews } from './support/return-values.controller.js';

const CASES: ReplayCase[] = [
  { name: 'an object', path: 'object', status: 201, text: /^{"id":"run \d+","nested"/ },
  { name: 'a class instance, serialized', path: 'serialized', status: 201, text: /^(?!.*secret).*"label":"Ann"/ },
  { name: 'an array of them, by @Expose()', path: 'serialized-groups', status: 201, text: /^\[{"label":"Ann"}/ },
  { name: 'an array', path: 'array', status: 201, text: /^\["run \d+",2,{"three":3}\]$/ },
  { name: 'a string', path: 'string', status: 201, text: /^run \d+$/ },
  { name: 'an empty string', path: 'empty-string', status: 201, text: '' },
  { name: 'a number', path: 'number', status: 201, text: '42' },
  { name: 'zero', path: 'zero', status: 201, text: '0' },
  { name: 'true', path: 'true', status: 201, text: 'true' },
  { name: 'false', path: 'false', status: 201, text: 'false' },
  { name: 'null', path: 'null', status: 201 },
  { name: 'undefined', path: 'undefined', status: 201, text: '' },
  { name: 'a date and toJSON()', path: 'date', status: 201, text: /^{"at":"\d{4}-.*","json":"run \d+"}$/ },
  { name: 'a Buffer', path: 'buffer', status: 201 },
  { name: 'a typed array', path: 'typed-array', status: 201 },
  { name: 'bytes of every value, with a content type', path: 'octets', status: 201 },
  {
    name: 'a StreamableFile of a buffer',
    path: 'file-of-buffer',
    status: 201,
    text: /^name,run \d+\n$/,
    has: { 'content-type': 'text/csv', 'content-disposition': 'attachment' },
  },
  { name: 'a StreamableFile of a file', path: 'file-of-file', status: 201, text: 'from a file\n'.repeat(1_000) },
  { name: 'a promise', path: 'promise', status: 201, text: /^{"id":"run \d+"}$/ },
  { name: 'a thenable that begins again each time', path: 'thenable', status: 201, text: /^{"rows":"run \d+"}$/ },
  { name: 'an Observable', path: 'observable', status: 201, text: /^{"id":"run \d+"}$/ },
  {
    name: 'an Observable of several values: the last',
    path: 'observables',
    status: 201,
    text: /^{"n":3,"id":"run \d+"}$/,
  },
  { name: 'the promise of an Observable', path: 'promised-observable', status: 201, text: /^{"id":"run \d+"}$/ },
  { name: 'a failing Observable', path: 'observable-error', status: 500, again: 'rerun' },
  // Its work is done. Nest answers 500, because it has no value to send.
  { name: 'an empty Observable', path: 'observable-empty', status: 500, again: 'carried out' },
  { name: '@Redirect()', path: 'redirect', status: 307, has: { location: '/results/elsewhere' } },
  { name: 'a redirect that the handler chose', path: 'redirect-dynamic', status: 303 },
  { name: '@Render()', path: 'view', status: 201, text: /^<p>Hello, run \d+<\/p>$/ },
  { name: '@HttpCode(204)', path: 'no-content', status: 204, text: '' },
  { name: 'PUT', method: 'PUT', path: 'put', status: 200, text: /^run \d+$/ },
  { name: 'PATCH', method: 'PATCH', path: 'patch', status: 202, text: /^run \d+$/ },
  { name: 'DELETE', method: 'DELETE', path: 'delete', status: 200, text: /^{"deleted":"run \d+"}$/ },
  { name: '@Header()', path: 'header', status: 201, has: { 'cache-control': 'no-store', 'x-custom-case': 'as it is' } },
  { name: 'a BigInt, which JSON cannot carry', path: 'bigint', status: 500, again: 'carried out' },
  { name: 'an object with a getter that throws', path: 'unreadable', status: 500, again: 'carried out' },
  { name: 'the same, read by an interceptor', path: 'unreadable-inside', status: 500, again: 'carried out' },
  { name: 'an object that refuses unknown names', path: 'strict', status: 500, again: 'carried out' },
  { name: 'a circular object, which JSON cannot carry', path: 'circular', status: 500, again: 'carried out' },
  {
    name: 'a file that is missing',
    path: 'file-missing',
    status: 400,
    // Nest sends the error of a stream itself on Express alone.
    onFastify: { status: 500, again: 'carried out' },
  },
  { name: 'a large body', path: 'large', status: 201, text: /x{300000}/ },
];

describe.each(PLATFORMS)('what handlers return, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [ReturnValuesController],
      configure: (nest) => useViews(nest, platform),
    });
  });
  afterAll(() => app?.close());

  test.each(CASES)('$name', async (one) => {
    await checkReplay(app, { ...one, path: `/results/${one.path}` });
    expect(app.log.lines.filter((line) => /already|headers/i.test(line.split('\n')[0]))).toEqual([]);
  });

  test('a view is not rendered for a replay', async () => {
    rendered.length = 0;
    await checkReplay(app, { name: '', path: '/results/view', status: 201 });
    expect(rendered).toStrictEqual([expect.stringMatching(/^run \d+$/)]);
  });
});

test('fastify does not warn of a replay that it was already sent', async () => {
  const lines: string[] = [];
  const stream = { write: (line: string) => void lines.push(line) };
  const app = await startApp('fastify', {
    controllers: [ReturnValuesController],
    adapter: new FastifyAdapter({ logger: { level: 'warn', stream } }),
    configure: (nest) => useViews(nest, 'fastify'),
  });
  try {
    for (const path of ['object', 'view', 'file-of-buffer', 'redirect']) {
      const request = { path: `/results/${path}`, key: randomUUID() };
      for (const replayed of [false, true]) expect(isReplay(await send(app.port, request))).toBe(replayed);
    }
    expect(lines).toEqual([]);
  } finally {
    await app.close();
  }
});

/** Nest 11's: it warns of the body of an error whose type is not exactly `application/json`. */
class Nest11Adapter extends FastifyAdapter {
  readonly warnings: unknown[] = [];

  override reply(
    ...[response, body, status]: Parameters<FastifyAdapter['reply']>
  ): ReturnType<FastifyAdapter['reply']> {
    const type = 'getHeader' in response ? response.getHeader('Content-Type') : undefined;
    const isError = ((body as { statusCode?: number } | undefined)?.statusCode ?? 0) >= 400;
    if (type !== undefined && type !== 'application/json' && isError) this.warnings.push(type);
    return super.reply(response, body, status);
  }
}

test('Nest 11 does not warn of the type of an error that is replayed on Fastify', async () => {
  @Controller('payments')
  class PaymentsController {
    @Post()
    @Idempotent()
    pay() {
      throw new BadRequestException('declined');
    }
  }
  const adapter = new Nest11Adapter();
  const app = await startApp('fastify', { controllers: [PaymentsController], adapter });
  try {
    const request = { path: '/payments', key: randomUUID() };
    const first = await send(app.port, request);
    const again = await send(app.port, request);
    expect([first.status, again.status, isReplay(again)]).toEqual([400, 400, true]);
    expect(valueOf(again.head, 'content-type')).toBe('application/json; charset=utf-8');
    expect(adapter.warnings).toEqual([]);
  } finally {
    await app.close();
  }
});
