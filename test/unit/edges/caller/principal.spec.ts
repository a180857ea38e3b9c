import type { PlatformRequest } from '../../../../lib/edges/http/exchange.js';
import { principalOf } from '../../../../lib/edges/caller/principal.js';

const of = (user: unknown, authorization?: string) =>
  principalOf(
    { user, headers: authorization === undefined ? {} : { authorization } } as PlatformRequest,
    { headers: ['authorization'], cookies: [] },
    'POST /x',
  );

it.each([
  [{ id: 'ada' }, 'ada'],
  [{ id: 7 }, '7'],
  [{ id: 7n }, '7'],
  [{ id: 0 }, '0'],
  [{ sub: 'auth0|ada' }, 'auth0|ada'],
  [{ id: 'ada', sub: 'other' }, 'ada'],
  [{ id: null, sub: 'ada' }, 'ada'],
  [{ id: { toString: () => '507f1f77bcf86cd799439011' } }, '507f1f77bcf86cd799439011'],
  [{ id: '7' }, '7'],
  [{ id: -0 }, '0'],
  [{ id: 2 ** 53 - 1 }, '9007199254740991'],
  [{ id: 2n ** 53n + 1n }, '9007199254740993'],
  [{ id: Buffer.from([0, 0x80, 0xff]) }, 'bytes:0080ff'],
  [{ id: new Uint8Array([0, 1, 0x80, 0xff]).subarray(1) }, 'bytes:0180ff'],
  [{ id: new Uint16Array([0x80ff]) }, 'bytes:ff80'],
  [{ id: 'bytes:0080ff' }, 'text:bytes:0080ff'],
  [{ id: 'text:bytes:0080ff' }, 'text:text:bytes:0080ff'],
  [{ id: { toString: () => 'bytes:0080ff' } }, 'text:bytes:0080ff'],
  [{ id: 'text:0080ff' }, 'text:0080ff'],
  [{ id: new Date(1_700_000_000_001) }, '2023-11-14T22:13:20.001Z'],
  [{ id: { toHexString: () => '507f' } }, '507f'],
  [{ id: '', sub: 'ada' }, 'ada'],
  [{ id: () => 7, _id: 'ada' }, 'ada'],
  [{ user_id: 6, _id: 5, uid: 4, userId: 3, sub: 2, id: 1 }, '1'],
  [{ user_id: 6, _id: 5, uid: 4, userId: 3, sub: 2 }, '2'],
  [{ user_id: 6, _id: 5, uid: 4, userId: 3 }, '3'],
  [{ user_id: 6, _id: 5, uid: 4 }, '4'],
  [{ user_id: 6, _id: 5 }, '5'],
  [{ user_id: 6 }, '6'],
  [{ sub: 'ada', iss: null }, 'ada'],
  [{ sub: 'ada', iss: '' }, 'ada'],
  [{ sub: 'a","b', iss: 'i' }, 'iss:["i","a\\",\\"b"]'],
  [{ sub: Buffer.from([1]), iss: 'i' }, 'iss:["i","bytes:01"]'],
  [{ sub: 'bytes:01', iss: 'i' }, 'iss:["i","text:bytes:01"]'],
  [{ sub: 'iss:["i","ada"]' }, 'text:iss:["i","ada"]'],
  [{ sub: 'iss:ada' }, 'iss:ada'],
])('%j is identified by its id', (user, scope) => {
  expect(of(user, 'Bearer x')).toEqual({ scope });
});

it.each([
  [{}],
  [[{ id: 'ada' }]],
  [true],
  [0],
  [''],
  [() => ({ id: 'ada' })],
  [{ id: '' }],
  [{ id: null }],
  [{ id: [], sub: 'ada' }],
  [{ sub: 'ada', iss: ['i'] }],
  [{ id: { toHexString: () => '' } }],
  [{ id: {} }],
  [{ id: Object.create(null) as object }],
  [{ id: true }],
  [{ id: Symbol('ada') }],
  ['ada'],
  [{ id: Number.NaN }],
  [{ id: Infinity }],
  [{ id: 2 ** 53 }],
  [{ id: Buffer.alloc(0) }],
  [{ id: new ArrayBuffer(16) }],
  [{ id: [] }],
  [{ id: ['ada'] }],
  [{ id: [{}, 1] }],
  [{ id: new Date(Number.NaN) }],
  [{ id: { toString: () => Buffer.from([0x80]).toString() } }],
  [{ id: { toString: () => 7 } }],
  [{ id: { toString: 'ada' } }],
  [{ id: new Map([['id', 'ada']]) }],
])('%p names no user', (user) => {
  expect(() => of(user)).toThrow(
    /^POST \/x: idempotency cannot tell callers apart: request\.user.*\. Set the option `scope`/,
  );
});

it.each([undefined, null, false])('without a user (%p), there are the credentials', (user) => {
  expect(of(user, 'Bearer x')).toEqual({ scope: '', credential: 'Bearer x' });
  expect(of(user)).toEqual({ scope: '' });
  expect(of(user, '')).toEqual({ scope: '' });
});

it('ids that are bytes differ where their text does not', () => {
  const scopes = Array.from({ length: 256 }, (_, last) => of({ id: Buffer.from([0, 0, 0, last]) }).scope);
  expect(new Set(scopes).size).toBe(256);
});

const ofRequest = (request: Partial<PlatformRequest>, sources: { headers?: string[]; cookies?: string[] } = {}) =>
  principalOf({ headers: {}, ...request } as PlatformRequest, { headers: [], cookies: [], ...sources }, 'POST /x');

it('an error names the member, and the first twenty of what is there', () => {
  const many = Object.fromEntries(Array.from({ length: 21 }, (_, n) => [`m${n}`, n]));
  expect(() => of(many)).toThrow('"m19" and more, but no value in');
  expect(() => of(many)).not.toThrow('m20');
  const { m20: _, ...twenty } = many;
  expect(() => of(twenty)).toThrow('"m19", but no value in');
  expect(() => of({ id: '', email: 'a@b' })).toThrow('request.user has "id", "email", but no value in id, sub,');
  expect(() => of({ id: Symbol('a') })).toThrow('request.user.id is a symbol, which several users may have');
  expect(() => of({ id: {} })).toThrow('request.user.id is an object without a text of its own');
  expect(() => ofRequest({ auth: { sub: [] } })).toThrow('request.auth.sub is an array');
  expect(() => ofRequest({ auth: { payload: { sub: Number.NaN } } })).toThrow('request.auth.payload.sub is NaN');
});

it('a user may be a function with an id', () => {
  expect(of(Object.assign(() => undefined, { id: 'ada' }))).toEqual({ scope: 'ada' });
});

describe('an auth that is a function, as of @clerk/express', () => {
  const headers = { authorization: 'Bearer token of a minute' };
  const returning = (claims: unknown) => ofRequest({ headers, auth: () => claims }, { headers: ['authorization'] });

  it('names the user by what it returns', () => {
    expect(returning({ userId: 'user_1', sessionId: 's' })).toEqual({ scope: 'user_1' });
  });

  it('may need its request', () => {
    const request = {
      headers,
      user_id: 'user_1',
      auth(this: { user_id: string }) {
        return { userId: this.user_id };
      },
    };
    expect(ofRequest(request)).toEqual({ scope: 'user_1' });
  });

  it.each([{ userId: null }, undefined, Promise.resolve({ userId: 'user_1' })])(
    'leaves the credentials, where it returns no user: %p',
    (claims) => {
      expect(returning(claims)).toEqual({ scope: '', credential: headers.authorization });
    },
  );

  // One of an application may need a role. Its users must not share their keys, and a rejection must not end the process.
  it('may be another one, which throws or rejects', async () => {
    const auth = (role?: string) => {
      if (!role) throw new TypeError('no role');
    };
    expect(() => ofRequest({ headers, auth })).toThrow(
      'callers apart: request.auth() threw "no role". Set the option `scope`',
    );
    const rejections: unknown[] = [];
    const note = (reason: unknown) => rejections.push(reason);
    process.on('unhandledRejection', note);
    try {
      expect(returning(Promise.reject(new Error('no role')))).toHaveProperty('scope', '');
      await new Promise(setImmediate);
    } finally {
      process.off('unhandledRejection', note);
    }
    expect(rejections).toEqual([]);
  });
});

it('a cookie counts where it is named and has a value', () => {
  const headers = { cookie: 'other=1; session=abc; session=def; empty=' };
  expect(ofRequest({ headers })).toEqual({ scope: '' });
  expect(ofRequest({ headers }, { cookies: ['empty', 'none'] })).toEqual({ scope: '' });
  expect(ofRequest({ headers: {} }, { cookies: ['session'] })).toEqual({ scope: '' });
  expect(ofRequest({ headers }, { cookies: ['session'] })).toEqual({
    scope: '',
    credential: '\n[["cookie session","abc"]]',
  });
});
