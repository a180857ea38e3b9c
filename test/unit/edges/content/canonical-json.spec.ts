import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { canonicalJson } from '../../../../lib/edges/content/canonical-json.js';

test('members in order, and the same for the same', () => {
  expect(canonicalJson({ b: 1, a: [{ d: 1.0, c: 'é' }] })).toBe('{"a":[{"c":"é","d":1}],"b":1}');
});

test('the example of RFC 8785, section 3.2.2', () => {
  const text = String.raw`{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  }`;
  expect(canonicalJson(JSON.parse(text))).toBe(
    String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
  );
});

test('the order of RFC 8785, section 3.2.3: by UTF-16 code units', () => {
  const names = ['\u20ac', '\r', '\ufb33', '1', '10', '9', '\ud83d\ude00', '\u0080', '\u00f6'];
  const text = canonicalJson(Object.fromEntries(names.map((name) => [name, 0])));
  const sorted = ['\r', '1', '10', '9', '\u0080', '\u00f6', '\u20ac', '\ud83d\ude00', '\ufb33'];
  expect([...text.matchAll(/("[^"]+"):0/g)].map(([, name]) => JSON.parse(name!) as string)).toEqual(sorted);
});

test('as another implementation has it', () => {
  const value = fc.anything({ withDate: true, withNullPrototype: true, withBoxedValues: true });
  fc.assert(
    fc.property(value, (one) => {
      let expected: string | undefined;
      try {
        expected = canonicalize(one);
      } catch {
        return;
      }
      expect(canonicalJson(one)).toBe(expected ?? '');
    }),
    { numRuns: 2_000 },
  );
});

test('what canonical JSON cannot carry is distinguished all the same', () => {
  const odd = [
    { a: Infinity },
    { a: -Infinity },
    { a: 10n },
    { a: 10 },
    { a: null },
    { a: '\ud800' },
    { a: '\ud801' },
    { a: '\ufffd' },
    { a: 'Infinity' },
  ];
  expect(new Set(odd.map(canonicalJson)).size).toBe(odd.length);
  expect(canonicalJson({ b: 1, a: Infinity })).toBe(canonicalJson({ a: Infinity, b: 1 }));
});

test('two texts of one JSON value are one', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonicalJson(value);
      expect(canonicalJson(JSON.parse(JSON.stringify(value)))).toBe(text);
      expect(canonicalJson(JSON.parse(text))).toBe(text);
    }),
  );
});

test('nested deeper than the stack', () => {
  const text = `${'[{"a":'.repeat(1e5)}1${'}]'.repeat(1e5)}`;
  let value: unknown = 1;
  for (let i = 0; i < 1e5; i++) value = [{ a: value }];
  expect(canonicalJson(value)).toBe(text);
});

test('what contains itself is refused, what is there twice is not', () => {
  const twice = { a: 1 };
  expect(canonicalJson({ x: twice, y: [twice, twice] })).toBe('{"x":{"a":1},"y":[{"a":1},{"a":1}]}');
  const round: Record<string, unknown> = {};
  round.again = [round];
  expect(() => canonicalJson(round)).toThrow(TypeError);
});
