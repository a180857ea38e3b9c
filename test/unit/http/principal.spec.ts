import type { PlatformRequest } from '../../../lib/edges/http/exchange.js';
import { principalOf } from '../../../lib/edges/http/principal.js';

const of = (user: unknown, authorization?: string) =>
  principalOf({ user, headers: authorization === undefined ? {} : { authorization } } as PlatformRequest);

it.each([
  [{ id: 'ada' }, 'ada'],
  [{ id: 7 }, '7'],
  [{ id: 7n }, '7'],
  [{ id: 0 }, '0'],
  [{ sub: 'auth0|ada' }, 'auth0|ada'],
  [{ id: 'ada', sub: 'other' }, 'ada'],
  [{ id: null, sub: 'ada' }, 'ada'],
  [{ id: { toString: () => '507f1f77bcf86cd799439011' } }, '507f1f77bcf86cd799439011'],
])('%j is told by its id', (user, scope) => {
  expect(of(user, 'Bearer x')).toEqual({ scope, binding: null });
});

it.each([
  [{}],
  [{ id: '' }],
  [{ id: null }],
  [{ id: {} }],
  [{ id: Object.create(null) as object }],
  [{ id: true }],
  [{ id: Symbol('ada') }],
  ['ada'],
])('%p names nobody', (user) => {
  expect(() => of(user)).toThrow('request.user has neither `id` nor `sub`. Set the option `scope`.');
});

it.each([undefined, null])('without a user (%p), a record is bound to the credentials', (user) => {
  const { scope, binding } = of(user, 'Bearer x');
  expect(scope).toBe('');
  expect(binding).toHaveLength(16);
  expect(of(user, 'Bearer x').binding).toEqual(binding);
  expect(of(user, 'Bearer y').binding).not.toEqual(binding);
  expect(of(user)).toEqual({ scope: '', binding: null });
});
