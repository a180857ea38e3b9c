import { unpackHead } from '../../../lib/edges/content/response-head.js';
import { outcomeOf, type Resolution } from '../../../lib/service/resolution.js';

const headersOf = (resolution: Resolution) => unpackHead(outcomeOf(resolution)!.head!).headers;

test.each<[string, Resolution, [string, string][]]>([
  ['JSON', { status: 201, body: '{"id":7}' }, [['Content-Type', 'application/json; charset=utf-8']]],
  ['bytes', { status: 201, body: Buffer.from('[1]') }, [['Content-Type', 'application/json; charset=utf-8']]],
  ['text', { status: 200, body: 'paid' }, [['Content-Type', 'text/plain; charset=utf-8']]],
  ['its own', { status: 200, headers: { 'content-type': 'text/csv' }, body: '1' }, [['content-type', 'text/csv']]],
  ['no body', { status: 204 }, []],
])('the media type of a response that an operator gives: %s', (_name, resolution, headers) => {
  expect(headersOf(resolution)).toEqual(headers);
});

test.each([
  undefined,
  'rerun',
  { statusCode: 201 },
  { status: '201' },
  { status: 99 },
  { status: 600 },
  { status: 201, body: { id: 7 } },
  { status: 201, headers: null },
])('what settles nothing is refused: %j', (resolution) => {
  expect(() => outcomeOf(resolution as Resolution)).toThrow(
    "IdempotencyService.resolve() takes 'release', { value }, or",
  );
});
