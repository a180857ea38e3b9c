import { requestToKeep } from '../../../../lib/edges/content/request-to-keep.js';

const settings = { store: true, maxBytes: 1_000, redact: [] as string[] };
const HEAD = '{"subject":"paid"}';
const kept = (request: Parameters<typeof requestToKeep>[0], more: Partial<typeof settings> = {}) =>
  requestToKeep(request, { ...settings, ...more })?.toString();

test('a head with content, a head alone, content alone', () => {
  expect(kept({ head: HEAD, member: 'input', content: { b: 1, a: 2 } })).toBe(
    '{"subject":"paid","input":{"a":2,"b":1}}',
  );
  expect(kept({ head: HEAD, member: 'input', content: undefined })).toBe('{"subject":"paid"}');
  expect(kept({ content: { b: 1, a: 2 } })).toBe('{"a":2,"b":1}');
  expect(kept({ content: null })).toBe('null');
  expect(kept({ content: undefined })).toBeUndefined();
});

test('bytes are not kept: nothing could be redacted in them', () => {
  const content = Buffer.from('{"pin":1234}');
  expect(kept({ content, json: '{"data":[1],"type":"Buffer"}' })).toBeUndefined();
  expect(kept({ head: HEAD, member: 'input', content })).toBe('{"subject":"paid"}');
});

class Card {
  constructor(private readonly digits: string) {}

  toJSON() {
    return { number: this.digits };
  }
}

test.each([
  ['a plain object', { card: { number: '4111' } }],
  ['an instance that says what it is in JSON', { card: new Card('4111') }],
  ['what is not enumerable', Object.defineProperty({}, 'toJSON', { value: () => ({ card: { number: '4111' } }) })],
  ['an array of pairs that says it is an object', Object.assign([], { toJSON: () => ({ card: { number: '4111' } }) })],
])('redacts what is written, whatever object it comes from: %s', (_, content) => {
  expect(kept({ content }, { redact: ['/card/number'] })).toBe('{"card":{"number":"[redacted]"}}');
});

test('a member named __proto__ is a member', () => {
  const content: unknown = JSON.parse('{"__proto__":{"pin":1},"a":2}');
  expect(kept({ content }, { redact: ['/__proto__/pin'] })).toBe('{"__proto__":{"pin":"[redacted]"},"a":2}');
});

test('the limit is of bytes, and of what is written', () => {
  expect(kept({ content: 'ü'.repeat(4) }, { maxBytes: 10 })).toBe('"üüüü"');
  expect(kept({ content: 'ü'.repeat(5) }, { maxBytes: 10 })).toBeUndefined();
  expect(kept({ content: { pin: 'x'.repeat(100) } }, { maxBytes: 30, redact: ['/pin'] })).toBe('{"pin":"[redacted]"}');
});

test('store: false', () => {
  expect(kept({ content: { a: 1 } }, { store: false })).toBeUndefined();
  expect(kept({ head: HEAD, member: 'input', content: 1 }, { store: false })).toBeUndefined();
});
