import { randomUUID } from 'node:crypto';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { PrincipalsController, revoked } from './support/principals.controller.js';
import { send } from './support/raw-http.js';

describe.each(PLATFORMS)('principals, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [PrincipalsController] });
  });
  afterAll(() => app?.close());

  const as = (user: unknown, key: string, path = 'user', headers: Record<string, string> = {}) =>
    send(app.port, { path: `/principals/${path}`, key, headers: { 'X-User': JSON.stringify(user), ...headers } });
  const bearing = (authorization: string | undefined, key: string) =>
    send(app.port, {
      path: '/principals/anonymous',
      key,
      headers: authorization ? { Authorization: authorization } : {},
    });

  test.each([
    ['id', { id: 'ann' }, { id: 'bob' }],
    ['a numeric id', { id: 1 }, { id: 2 }],
    ['an id of zero', { id: 0 }, { id: 1 }],
    ['sub', { sub: 'ann' }, { sub: 'bob' }],
    ['id before sub', { id: 'ann', sub: 'x' }, { id: 'bob', sub: 'x' }],
  ])('principals by %s do not meet', async (_by, ann, bob) => {
    const key = randomUUID();
    const before = countRuns();
    const first = await as(ann, key);
    const second = await as(bob, key);
    expect([first.status, second.status, isReplay(second)]).toEqual([201, 201, false]);
    expect(comparable(await as(ann, key))).toEqual(comparable(first));
    expect(comparable(await as(bob, key))).toEqual(comparable(second));
    expect(countRuns() - before).toBe(2);
  });

  test('a principal keeps its keys when its token is a new one', async () => {
    const key = randomUUID();
    const first = await as({ id: 'ann' }, key, 'user', { Authorization: 'Bearer old' });
    const second = await as({ id: 'ann' }, key, 'user', { Authorization: 'Bearer new' });
    expect([isReplay(second), comparable(second)]).toEqual([true, comparable(first)]);
  });

  test.each([{}, { name: 'ann' }, { id: '' }, { id: null, sub: null }, { id: {} }, 17, true, 'ann'])(
    'request.user %j names no user, and is refused with an error in the log',
    async (user) => {
      const before = countRuns();
      const answer = await as(user, randomUUID());
      expect([answer.status, answer.body.toString()]).toEqual([
        500,
        '{"statusCode":500,"message":"Internal server error"}',
      ]);
      expect(app.log.toString()).toContain(
        'POST /principals/user: idempotency cannot tell callers apart: request.user',
      );
      expect(countRuns()).toBe(before);
    },
  );

  test('tenants with the same key do not meet, and their users do', async () => {
    const key = randomUUID();
    const first = await as({ tenant: 'a', id: 1 }, key, 'by-tenant');
    const other = await as({ tenant: 'b', id: 1 }, key, 'by-tenant');
    expect([first.status, other.status, isReplay(other)]).toEqual([201, 201, false]);
    const colleague = await as({ tenant: 'a', id: 2 }, key, 'by-tenant');
    expect([isReplay(colleague), comparable(colleague)]).toEqual([true, comparable(first)]);
  });

  test('a user that was revoked gets no replay', async () => {
    const key = randomUUID();
    expect((await as({ id: 'eve' }, key)).status).toBe(201);
    revoked.add('{"id":"eve"}');
    const answer = await as({ id: 'eve' }, key);
    expect([answer.status, isReplay(answer), codeOf(answer)]).toEqual([403, false, undefined]);
    revoked.clear();
    expect(isReplay(await as({ id: 'eve' }, key))).toBe(true);
  });

  test('a guard comes before everything, also before what is wrong with a key', async () => {
    expect((await send(app.port, { path: '/principals/user' })).status).toBe(401);
    expect((await send(app.port, { path: '/principals/user', key: 'two words' })).status).toBe(401);
  });

  test.each([
    ['another credential', 'Bearer a', 'Bearer b'],
    ['no credential', 'Bearer a', undefined],
    ['a credential where there was none', undefined, 'Bearer b'],
  ])('%s is foreign: neither a replay nor a run', async (_name, one, two) => {
    const key = randomUUID();
    const before = countRuns();
    const first = await bearing(one, key);
    const second = await bearing(two, key);
    expect([first.status, second.status, codeOf(second)]).toEqual([201, 422, 'key-foreign']);
    const again = await bearing(one, key);
    expect([isReplay(again), comparable(again)]).toEqual([true, comparable(first)]);
    expect(countRuns() - before).toBe(1);
  });

  test('without a principal and a credential, any caller that has the key', async () => {
    await checkReplay(app, { name: '', path: '/principals/anonymous', status: 201 });
  });

  test('a caller that a guard lets in without naming it is logged once, as a warning', async () => {
    const ask = (path: string, headers: Record<string, string> = {}) =>
      send(app.port, { path: `/principals/${path}`, key: randomUUID(), headers });
    await ask('let-in/bearing', { Authorization: 'Bearer a' });
    await ask('let-in/known', { 'X-User': '{"id":1}' });
    await ask('let-in/on-purpose');
    await ask('anonymous');
    for (let n = 0; n < 2; n++) await ask('let-in');
    expect(app.log.lines.filter((line) => line.includes('share their keys'))).toEqual([
      expect.stringMatching(/^WARN POST \/principals\/let-in: /),
    ]);
  });
});
