import { actorOf } from '../../../lib/dashboard/actor.js';
import { OperatorActions, refusalOf } from '../../../lib/dashboard/operator-actions.js';
import { assertSameOrigin } from '../../../lib/dashboard/same-origin.js';
import { IdempotencyRecord } from '../../../lib/store/entities/index.js';
import { Logger } from '@nestjs/common';

const ID = '0f8fad5b-d9cb-469f-a165-70867728950e';

describe('An operator', () => {
  it.each([
    [{ username: 'ada' }, 'ada'],
    [{ id: 17 }, '17'],
    [{ username: 'root (id 1)', id: 17 }, 'root (id 1) (id 17)'],
    [{ email: 'a@b.example', sub: 'auth0|1' }, 'a@b.example (id auth0|1)'],
    // The members and the forms by which a request's principal is known.
    [{ user_id: 17 }, '17'],
    [{ _id: { toHexString: () => '65a1f0' } }, '65a1f0'],
    [{ id: Buffer.from('01f0', 'hex') }, 'bytes:01f0'],
    [{}, null],
  ])('%j is known as %s', (user, name) => {
    expect(actorOf({ user })).toBe(name);
    expect(actorOf({ auth: user })).toBe(name);
    expect(actorOf({ auth: () => user })).toBe(name);
  });

  test('known by the claims of express-oauth2-jwt-bearer', () => {
    expect(actorOf({ auth: { header: {}, payload: { sub: 'auth0|1' }, token: 'e' } })).toBe('auth0|1');
  });

  test('no operator where the claims cannot be read', () => {
    const auth = () => {
      throw new Error('no middleware');
    };
    expect(actorOf({ auth })).toBeNull();
  });

  const lines: string[] = [];
  beforeAll(() => {
    const keep = (...parts: unknown[]) => void lines.push(String(parts[0]));
    Logger.overrideLogger({ log: () => undefined, warn: keep, error: keep });
  });
  afterAll(() => Logger.overrideLogger(false));

  it('gets the answer that it is done, though the record cannot be read afterwards', async () => {
    const record = Object.assign(new IdempotencyRecord(), {
      endpoint: 'pay\u2028\u0085x',
      route: null,
      status: 'held',
    });
    const pages = {
      brief: async () => ({ record, abandoned: false, expired: false }),
      summaries: () => Promise.reject(new Error('Connection terminated')),
    };
    const store = { resolveHeld: async () => true, forget: async () => true };
    const actions = new OperatorActions({ pages: pages as never, store, onChange: () => undefined });
    expect(await actions.one('release', ID, { reason: 'why' }, 'ada')).toEqual({
      id: ID,
      action: 'release',
      record: null,
    });
    expect(lines[0]).toBe(`"ada" released ${ID} ("pay\\u2028\\u0085x"): "why"`);
  });

  it('sees the difference between a defect and a database in trouble', () => {
    expect(refusalOf(new TypeError('x is not a function'))).toMatchObject({ code: 'failed', status: 500 });
    expect(refusalOf(new Error('connect ECONNREFUSED'))).toMatchObject({ code: 'store-unavailable', status: 503 });
  });
});

describe('A request without Sec-Fetch-Site', () => {
  it.each([
    ['of the same origin', { host: 'a.example', origin: 'http://a.example' }],
    ['of the same origin over HTTP/2', { ':authority': 'a.example', origin: 'https://a.example' }],
    ['of a program', { host: 'a.example' }],
  ])('%s is answered', (_, headers) => {
    expect(() => assertSameOrigin(headers)).not.toThrow();
  });

  it.each([
    ['of another origin', { host: 'a.example', origin: 'http://b.example' }],
    ['of a sandboxed page over HTTP/2', { ':authority': 'a.example', origin: 'null' }],
    ['of a sandboxed page, of an unknown host', { origin: 'null' }],
  ])('%s is refused', (_, headers) => {
    expect(() => assertSameOrigin(headers)).toThrow('comes from another site');
  });
});
