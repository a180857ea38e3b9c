import { Idempotent, IdempotencyModule, type IdempotentOptions } from '../../../lib/index.js';
import { OperationOptions } from '../../../lib/handlers/operation-options.js';

test.each([
  'card.number',
  '$.card',
  '#/card',
  'card/number',
  '',
  '/',
  '/card/',
  '/card//number',
  '/a~3b',
  '/a~',
  '?',
  '?/token',
])('a pointer that can never match is refused: %j', (pointer) => {
  for (const options of [
    { request: { redact: ['/ok', pointer] } },
    { fingerprint: { ignore: [pointer] } },
    { fingerprint: { only: [pointer] } },
    { response: { redact: [pointer] } },
  ] as IdempotentOptions[]) {
    expect(() => Idempotent(options)).toThrow(/option `\w+\.\w+` must hold JSON pointers such as '\/card\/number'/);
    expect(() => IdempotencyModule.forRoot(options)).toThrow(JSON.stringify(pointer));
  }
});

test.each<[IdempotentOptions, RegExp]>([
  [
    { request: { redact: ['/payments/-/card'] } },
    /`request.redact` has '-' in "\/payments\/-\/card", which is past the end/,
  ],
  [{ fingerprint: { ignore: ['?items/-'] } }, /`fingerprint.ignore` has '-'/],
  [{ response: { redact: ['?token'] } }, /`response.redact` must point into the body: a response has no query/],
  [{ fingerprint: { only: [] } }, /`fingerprint.only` must not be empty/],
  [{ response: { store: 'no' } } as never, /`response.store` must be true or false/],
  [{ request: { headers: [] } } as never, /`request.headers` does not exist; there are store, maxBytes, redact/],
])('%j is refused', (options, problem) => {
  expect(() => Idempotent(options)).toThrow(problem);
  expect(() => IdempotencyModule.forRoot(options)).toThrow(problem);
});

test.each([
  '/*',
  '/a/*/b',
  '/*/*',
  '/a*b',
  '/~2',
  '/a~0~1~2',
  '/0',
  '/a-b',
  '?token',
  '?*',
  '?card/number',
  '?card[number]',
])('a pointer that can match is taken: %j', (pointer) => {
  expect(() => Idempotent({ request: { redact: [pointer] }, fingerprint: { ignore: [pointer] } })).not.toThrow();
});

test('request and response are merged member by member, and lists of redact add up', () => {
  @Idempotent({ request: { redact: ['/b'] }, response: { redact: ['/x'], maxBytes: 7 } })
  class Controller {
    @Idempotent({ request: { redact: ['/c'], maxBytes: undefined }, response: { maxBytes: 9 } })
    both() {}

    @Idempotent({ request: { store: true } })
    one() {}

    none() {}
  }
  const defaults: IdempotentOptions = {
    request: { store: false, maxBytes: 5, redact: ['/a'] },
    response: { store: false, headers: { exclude: ['X-Secret'] } },
  };
  const options = new OperationOptions({ defaults });
  const of = (method: 'both' | 'one' | 'none') => {
    const { request, response } = options.of(Controller, Controller.prototype[method])!;
    return { request, response };
  };
  const response = { store: false, redact: ['/x'], maxBytes: 7, exclude: new Set(['x-secret']) };
  expect(of('both')).toMatchObject({
    request: { store: false, maxBytes: 5, redact: ['/a', '/b', '/c'] },
    response: { ...response, maxBytes: 9 },
  });
  expect(of('one')).toMatchObject({ request: { store: true, maxBytes: 5, redact: ['/a', '/b'] }, response });
  expect(of('none')).toMatchObject({ request: { store: false, maxBytes: 5, redact: ['/a', '/b'] }, response });
});
