import { ContentView } from '../../../lib/dashboard/content.js';
import { packAnswer } from '../../../lib/edges/content/value-outcome.js';
import type { StoredOutcome } from '../../../lib/engine/outcome.js';
import { packHead } from '../../../lib/edges/content/response-head.js';
import { IdempotencyRecord, IdempotencyStep } from '../../../lib/store/entities/index.js';

const CARD = '4111111111111111';

function viewOf(
  { request, outcome }: { request?: string; outcome?: StoredOutcome },
  { redact = ['/card/number', '?token'] as readonly string[], content = true } = {},
): ContentView {
  const record = Object.assign(new IdempotencyRecord(), {
    id: '0f8fad5b-d9cb-469f-a165-70867728950e',
    request: request === undefined ? null : Buffer.from(request),
    responseCode: outcome?.code ?? null,
    responseHead: outcome?.head ?? null,
    responseBody: outcome?.body ?? null,
  });
  return new ContentView(record, { encryption: undefined, redact, content });
}

const paid = { id: 'pay_1', card: { number: CARD } };
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

class PaymentError extends Error {
  readonly extensions = { card: { number: CARD }, code: 'DECLINED' };
}

describe('The options `redact` of the page reach', () => {
  it.each([
    ['the body of a request', { request: JSON.stringify({ method: 'POST', path: '/', body: paid }) }],
    ['the input of a message', { request: JSON.stringify({ pattern: 'pay', input: paid }) }],
    ['the input of run()', { request: JSON.stringify(paid) }],
    ['a value', { outcome: packAnswer({ values: [paid] }, Infinity) }],
    ['each of several values', { outcome: packAnswer({ values: [{ id: 0 }, paid] }, Infinity) }],
    [
      "an error's extensions",
      { outcome: packAnswer({ values: [], thrown: { error: new PaymentError('no') } }, Infinity) },
    ],
  ])('%s', (_, kept) => {
    const view = viewOf(kept);
    const shown = JSON.stringify([view.request(), view.response()]);
    expect(shown).toContain('[redacted]');
    expect(shown).toContain('"redacted":true');
    expect(shown).not.toContain(CARD);
    expect(JSON.stringify([viewOf(kept, { redact: [] }).request(), viewOf(kept, { redact: [] }).response()])).toContain(
      CARD,
    );
  });

  it('what an error says to the client of a message', () => {
    const error = { name: 'RpcException', message: 'no', payload: { json: JSON.stringify(paid) } };
    const head = Buffer.from(JSON.stringify({ kind: 'error', error }));
    const shown = JSON.stringify(viewOf({ outcome: { code: 1, head, body: null } }).response());
    expect(shown).toContain('pay_1');
    expect(shown).not.toContain(CARD);
  });

  it('a parameter of the query', () => {
    const request = JSON.stringify({ method: 'POST', path: '/pay?a=1&token=s3cret', body: paid });
    expect(viewOf({ request }).request()).toMatchObject({ path: '/pay?a=1&token=[redacted]' });
    expect(viewOf({ request }, { redact: [] }).request()).toMatchObject({ path: '/pay?a=1&token=s3cret' });
  });
});

test('without `content`, neither query nor headers are shown', () => {
  const request = JSON.stringify({ method: 'POST', path: '/pay?token=s3cret', body: paid });
  const head = packHead({ headers: [['Location', '/pay/1?token=s3cret']] });
  const view = viewOf({ request, outcome: { code: 201, head, body: Buffer.from('{}') } }, { content: false });
  expect(view.request()).toMatchObject({ path: '/pay', body: { kind: 'withheld' } });
  expect(view.response()).toMatchObject({ status: 201, headers: [], body: { kind: 'withheld' } });
});

describe('Content that a client has nested deeply', () => {
  const step = (text: string) => Object.assign(new IdempotencyStep(), { name: 'a', result: Buffer.from(text) });

  it('is shown in bounded time and space', () => {
    for (const depth of [100, 2_000, 3_000, 100_000]) {
      const request = `{"method":"POST","path":"/","body":${nested(depth)}}`;
      const { body } = viewOf({ request }, { redact: [] }).request() as { body: { text: string } };
      expect(body).toMatchObject({ kind: expect.stringMatching(/json|text/) });
      expect(body.text.length).toBeLessThanOrEqual(262_144);
      const withPointers = JSON.stringify(viewOf({ request }).request());
      expect(withPointers).toMatch(/"kind":"(json|withheld)"/);
    }
    expect(viewOf({}, { redact: [] }).step(step(nested(1_000)))).toMatchObject({ truncated: false });
    const wide = `${'['.repeat(60)}${Array(500_000).fill(0).join(',')}${']'.repeat(60)}`;
    expect(viewOf({}, { redact: [] }).step(step(wide))).toMatchObject({ kind: 'json', truncated: true });
  });

  it('shows nothing of a query that a pointer leads to', () => {
    const request = `{"method":"POST","path":"/pay?token=s3cret","body":${nested(100_000)}}`;
    const shown = JSON.stringify(viewOf({ request }, { redact: ['?token'] }).request());
    expect(shown).toMatch(/"kind":"withheld"/);
    expect(shown).not.toContain('s3cret');
  });

  it('is otherwise indented as JSON is', () => {
    const value = { a: [1, { b: [] }], c: {}, d: null, e: 'x', f: [[true]] };
    expect(viewOf({}).step(step(JSON.stringify(value)))).toMatchObject({ text: JSON.stringify(value, null, 2) });
    expect(viewOf({}).step(step('{"amount":51.50}'))).toMatchObject({
      text: expect.stringMatching(/"amount": 51.50?/),
    });
  });
});
