import {
  comparedContent,
  pointInto,
  pointIntoContent,
  reachesParameter,
  withoutPointers,
} from '../../../../lib/edges/content/json-pointer.js';

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

  test('fields of a form, by their names in brackets', () => {
    const form = { 'card[number]': 1, 'card[name]': 2, 'a[][b]': 3 };
    const hidden = { 'card[number]': '*', 'card[name]': 2, 'a[][b]': '*' };
    expect(withoutPointers(form, ['/card/number', '/a/*/b'], '*')).toEqual(hidden);
    expect(withoutPointers(form, ['/card'])).toEqual({ 'a[][b]': 3 });
    expect(withoutPointers(form, ['/other/number'])).toBe(form);
  });

  test('nothing beside the path is copied', () => {
    const deep = JSON.parse(`${'['.repeat(1e5)}${']'.repeat(1e5)}`) as unknown;
    expect((withoutPointers({ deep, a: 1 }, ['/a']) as { deep: unknown }).deep).toBe(deep);
  });
});

describe('what is compared of a content', () => {
  const body = {
    card: { number: '4111', cvc: '1' },
    items: [
      { sku: 'a', at: 1 },
      { sku: 'b', at: 2 },
    ],
    note: null,
  };

  test.each<[readonly string[] | undefined, readonly string[] | undefined, unknown]>([
    [undefined, undefined, body],
    [[], [], body],
    [['/card/number'], undefined, { card: { number: '4111' } }],
    [['/card'], ['/card/cvc'], { card: { number: '4111' } }],
    [['/items/*/sku'], undefined, { items: [{ sku: 'a' }, { sku: 'b' }] }],
    [['/items/1', '/items/1/sku'], undefined, { items: Object.assign([], { 1: { sku: 'b', at: 2 } }) }],
    [['/items/*/sku'], ['/items/0'], { items: Object.assign([], { 1: { sku: 'b' } }) }],
    [['/note'], undefined, { note: null }],
    [['/cart', '?card'], undefined, body],
    [['/card/number/length'], undefined, body],
    [undefined, ['/*'], {}],
    [undefined, ['?card', 'card'], body],
  ])('only %j, ignore %j', (only, ignore, expected) => {
    expect(comparedContent(body, { ...(only && { only }), ...(ignore && { ignore }) })).toEqual(expected);
  });

  test('a whole that is chosen is not copied', () => {
    expect(comparedContent(body, {})).toBe(body);
    expect((comparedContent(body, { only: ['/card'] }) as typeof body).card).toBe(body.card);
  });

  test.each<[readonly string[] | undefined, readonly string[] | undefined, boolean]>([
    [undefined, undefined, false],
    [['/file'], undefined, false],
    [['/file/name'], undefined, false],
    [['/files/0/name'], undefined, true],
    [['/files/*/name'], undefined, true],
    [['/files/1/name'], undefined, false],
    [['/files/0/name'], ['/files'], false],
    [['/files/0/name'], ['/files/0'], false],
    [['/files/0/name'], ['/files/0/size'], true],
    [['/files/0/name'], ['/files/1'], true],
    [['?files/0/name'], undefined, false],
  ])('a file whose members are not known yet: only %j, ignore %j: %j', (only, ignore, expected) => {
    expect(pointInto({ ...(only && { only }), ...(ignore && { ignore }) }, ['files', '0'])).toBe(expected);
  });
});

test('pointers to parameters', () => {
  expect(reachesParameter(['?token'], 'token')).toBe(true);
  expect(reachesParameter(['?card'], 'card[number]')).toBe(true);
  expect(reachesParameter(['?card/number'], 'card[number]')).toBe(true);
  expect(reachesParameter(['?card[number]'], 'card[number]')).toBe(true);
  expect(reachesParameter(['?card/cvc'], 'card[number]')).toBe(false);
  expect(reachesParameter(['/token', '?tokens'], 'token')).toBe(false);
  expect([pointIntoContent(['?a', '/a']), pointIntoContent(['?a']), pointIntoContent([])]).toEqual([
    true,
    false,
    false,
  ]);
});
