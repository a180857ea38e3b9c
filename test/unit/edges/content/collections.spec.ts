import { canonicalJson } from '../../../../lib/edges/content/canonical-json.js';

describe('Collections in what is compared', () => {
  test.each([
    [new Map([['cat', 1]]), new Map([['cat', 2]])],
    [new Set(['cat']), new Set(['dog'])],
    [Uint8Array.of(1).buffer, Uint8Array.of(2).buffer],
    [new URLSearchParams('cat=1'), new URLSearchParams('cat=2')],
    [{ cats: new Map([[{ name: 'Tom' }, new Set([1])]]) }, { cats: new Map([[{ name: 'Tom' }, new Set([2])]]) }],
  ])('are told apart by what they hold', (one, other) => {
    expect(canonicalJson(one)).not.toBe(canonicalJson(other));
    expect(canonicalJson(one)).toBe(canonicalJson(structured(one)));
  });

  test('cannot contain themselves', () => {
    const map = new Map<string, unknown>();
    map.set('map', map);
    expect(() => canonicalJson(map)).toThrow('contains itself');
    expect(() => canonicalJson({ map })).toThrow('contains itself');
  });

  test('are left to their reader where they can be read once', () => {
    const numbers = [1, 2].values();
    expect(canonicalJson({ numbers })).toBe('{"numbers":{}}');
    expect([...numbers]).toEqual([1, 2]);
  });
});

/** The same once more, made of other objects. */
function structured(value: object): unknown {
  return value instanceof URLSearchParams ? new URLSearchParams(value) : structuredClone(value);
}
