import { canonicalJson } from '../../../../lib/edges/content/canonical-json.js';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import { storedRequest } from '../../../../lib/edges/content/request-to-keep.js';

const exchange = { method: 'POST', rawRequest: { url: '/payments?x=1' } } as Exchange;
const options = { store: true, maxBytes: 1_000, redact: [] as string[] };
const description = { fingerprint: '', mediaType: 'application/json' };

const kept = (more: object, settings: object = {}) => {
  const bytes = storedRequest(exchange, { ...description, ...more }, { ...options, ...settings });
  return bytes && (JSON.parse(bytes.toString()) as unknown);
};

describe('what is kept of a request', () => {
  const head = { method: 'POST', path: '/payments?x=1', mediaType: 'application/json' };

  it('is method, path, media type and body', () => {
    expect(kept({})).toEqual(head);
    expect(kept({ content: { amount: 7 } })).toEqual({ ...head, body: { amount: 7 } });
    expect(kept({ content: { amount: 7 }, json: '{"amount":7}' })).toEqual({ ...head, body: { amount: 7 } });
    expect(kept({ content: null })).toEqual({ ...head, body: null });
  });

  it('is without what is to be redacted, though its JSON is known', () => {
    const content = { card: '4111', amount: 7 };
    const redacted = { card: '[redacted]', amount: 7 };
    expect(kept({ content, json: '{"amount":7,"card":"4111"}' }, { redact: ['/card'] })).toEqual({
      ...head,
      body: redacted,
    });
  });

  it('is nothing where that is not wanted, or too large', () => {
    expect(kept({ content: {} }, { store: false })).toBeNull();
    expect(kept({ content: { text: 'x'.repeat(1_000) } })).toBeNull();
    expect(kept({}, { maxBytes: 10 })).toBeNull();
  });
});

describe('canonical JSON', () => {
  it('has members in order', () => {
    expect(canonicalJson({ b: [2, 1], a: { d: null, c: 'x' } })).toBe('{"a":{"c":"x","d":null},"b":[2,1]}');
    expect(canonicalJson(undefined)).toBe('');
  });

  it.each([
    ['a number beyond a double', { b: 1, a: Infinity }, '{"a":{"\\u0062eyondDouble":"Infinity"},"b":1}'],
    ['a bigint', { z: 2n, a: [null, { d: 1, c: 2 }] }, '{"a":[null,{"c":2,"d":1}],"z":{"\\u0062eyondDouble":"2"}}'],
    ['half a surrogate pair', { b: '\ud800', a: 'x' }, '{"a":"x","b":"\\ud800"}'],
  ])('of what it cannot carry: %s', (_, value, json) => {
    expect(canonicalJson(value)).toBe(json);
  });

  it('is nothing where there is nothing to write', () => {
    expect(canonicalJson(() => 1)).toBe('');
  });
});
