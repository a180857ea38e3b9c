import { withoutPointers } from '../../../../lib/edges/content/json-pointer.js';

describe('JSON pointers', () => {
  const body = { a: { b: [1, { c: 2 }], 'x/y': 3, 'x~y': 4 }, d: null };

  test.each([
    ['/a/b', { a: { 'x/y': 3, 'x~y': 4 }, d: null }],
    ['/a/b/1/c', { a: { b: [1, {}], 'x/y': 3, 'x~y': 4 }, d: null }],
    ['/a/x~1y', { a: { b: [1, { c: 2 }], 'x~y': 4 }, d: null }],
    ['/a/x~0y', { a: { b: [1, { c: 2 }], 'x/y': 3 }, d: null }],
    ['/d', { a: body.a }],
    ['/d/e', body],
    ['/nowhere', body],
    ['/a/b/length', body],
    ['/__proto__/toString', body],
  ])('%s taken away', (pointer, expected) => {
    const before = structuredClone(body);
    const changed = withoutPointers(body, [pointer]);
    expect(changed).toEqual(expected);
    expect(body).toEqual(before);
  });

  test('replaced, several at once', () => {
    expect(withoutPointers(body, ['/a/b/0', '/a/b/1/c', '/d'], '*')).toEqual({
      a: { b: ['*', { c: '*' }], 'x/y': 3, 'x~y': 4 },
      d: '*',
    });
  });

  test.each([undefined, null, 'text', 17, true])('%j has no members', (value) => {
    expect(withoutPointers(value, ['/a'])).toBe(value);
  });

  test('nothing beside the path is copied', () => {
    const deep = JSON.parse(`${'['.repeat(1e5)}${']'.repeat(1e5)}`) as unknown;
    expect((withoutPointers({ deep, a: 1 }, ['/a']) as { deep: unknown }).deep).toBe(deep);
  });
});
