import { equal, notEqual } from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import querystring from 'node:querystring';
import { isDeepStrictEqual } from 'node:util';
import fastQuerystring from 'fast-querystring';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { canonicalJson } from '../../lib/edges/content/canonical-json.js';
import type { Exchange } from '../../lib/edges/http/exchange.js';
import { describeRequest } from '../../lib/edges/http/fingerprint.js';
import { StreamedBody } from '../../lib/edges/http/streamed-body.js';
import { bindFingerprint, digestIdentity } from '../../lib/engine/identity.js';
import { JSON_TEXTS, QUERIES } from './corpus/fingerprint.js';
import { property, type Property, textOf } from './property.js';

const IDENTITY = digestIdentity({ scope: 'ada', endpoint: 'POST /payments/:id', key: 'k' });

/** A request, as a client means it. */
interface Meant {
  readonly params: Readonly<Record<string, string>>;
  readonly query: readonly (readonly [string, string])[];
  readonly mediaType: string;
  readonly tenant: string;
  readonly version: string;
  readonly body: unknown;
  readonly files?: readonly File[] | undefined;
}

interface File {
  readonly fieldname: string;
  readonly originalname: string;
  readonly mimetype: string;
  readonly content: string;
}

/** Of the characters that the text under a fingerprint is put together with. */
const awkward = textOf('a=&%\n"{}[]:, +;', 4);
const name = textOf('ab=&%[]', 2);

/** Members in an order of their own, and numbers that are written in several ways. */
const { json } = fc.letrec<{ json: unknown }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    awkward,
    fc.constantFrom<unknown>(null, true, false, 0, -0, 1, 1.5, 1e21, Infinity, -Infinity, 'Infinity', '1', ''),
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(name, fc.constantFrom('beyondDouble', '__proto__', 'toJSON', '10', '9')), tie('json'), {
      maxKeys: 3,
      noNullPrototype: true,
    }),
  ),
}));

const file = fc.record(
  {
    fieldname: name,
    originalname: awkward,
    mimetype: fc.constantFrom('image/png', 'text/plain'),
    content: textOf('ab', 2),
  },
  { noNullPrototype: true },
);

const meant: fc.Arbitrary<Meant> = fc.oneof(
  fc.record({
    params: fc.dictionary(name, awkward, { maxKeys: 2 }),
    query: fc.array(fc.tuple(name, awkward), { maxLength: 3 }),
    mediaType: fc.constantFrom('', 'application/json', 'text/plain'),
    tenant: textOf('a :,', 3).map((text) => text.trim()),
    version: fc.constantFrom('', '1', '2'),
    body: fc.oneof(
      json.filter((value) => value !== null),
      awkward,
      awkward.map((text) => Buffer.from(text)),
      fc.constant(undefined),
    ),
  }),
  fc.record({
    params: fc.constant({}),
    query: fc.constant([]),
    mediaType: fc.constant('multipart/form-data'),
    tenant: fc.constant(''),
    version: fc.constant(''),
    body: fc.dictionary(name, awkward, { maxKeys: 2, noNullPrototype: true }),
    files: fc.array(file, { maxLength: 2 }),
  }),
);

/** A retry, or another request that differs in little. */
const pair = fc.oneof(
  fc.tuple(meant, meant),
  fc
    .tuple(meant, meant, fc.constantFrom<keyof Meant>('params', 'query', 'mediaType', 'tenant', 'version', 'body'))
    .map(([one, other, part]): [Meant, Meant] => [
      one,
      one.files || other.files ? one : { ...one, [part]: other[part] },
    ]),
  fc
    .tuple(meant, fc.array(file, { maxLength: 2 }))
    .map(([one, files]): [Meant, Meant] => [one, one.files ? { ...one, files } : one]),
);

/** Whether two requests are one, found member by member. */
function isSame(a: Meant, b: Meant): boolean {
  return (
    isDeepStrictEqual({ ...a.params }, { ...b.params }) &&
    isDeepStrictEqual(grouped(a.query), grouped(b.query)) &&
    a.mediaType === b.mediaType &&
    a.tenant === b.tenant &&
    a.version === b.version &&
    isDeepStrictEqual(positive(a.body), positive(b.body)) &&
    isDeepStrictEqual(a.files, b.files)
  );
}

/** A query as an application reads it: the values of each name, in their order. */
function grouped(query: Meant['query']): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const [key, value] of query) values.set(key, [...(values.get(key) ?? []), value]);
  return new Map([...values].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** JSON has one zero; its `-0` is `0` in canonical JSON (RFC 8785, section 3.2.2.3). */
function positive(value: unknown): unknown {
  if (value === 0) return 0;
  if (Array.isArray(value)) return value.map(positive);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return new Map(
    Object.entries(value)
      .map(([key, member]) => [key, positive(member)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

async function fingerprintOf(one: Meant, variant = 0): Promise<string> {
  const encode = variant === 0 ? encodeURIComponent : encodedOtherwise;
  const query = one.query.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&');
  const body: unknown =
    variant === 0 || typeof one.body !== 'object' || one.body instanceof Uint8Array ? one.body : reordered(one.body);
  return fingerprint({
    url: `/payments/7?${query}`,
    request: {
      headers: {
        'content-type': variant === 0 ? one.mediaType : ` ${one.mediaType.toUpperCase()} ; charset=utf-8`,
        'x-tenant': one.tenant,
        ...(one.body !== undefined && (variant === 0 ? { 'content-length': '2' } : { 'transfer-encoding': 'chunked' })),
      },
      params: variant === 0 ? one.params : reordered(one.params),
      body,
      ...(one.files && {
        files: one.files.map(({ content, ...rest }) => ({
          ...rest,
          size: content.length,
          buffer: Buffer.from(content),
        })),
      }),
    },
    version: one.version,
  });
}

async function fingerprint({
  url,
  request,
  version = '',
}: {
  url: string;
  request: object;
  version?: string;
}): Promise<string> {
  const exchange = {
    method: 'POST',
    endpoint: 'POST /payments/:id',
    request: { headers: {}, ...request },
    rawRequest: { url, readableDidRead: true },
    rawResponse: new EventEmitter(),
  } as unknown as Exchange;
  const described = await describeRequest(exchange, { headers: ['x-tenant'] }, { version });
  return bindFingerprint(IDENTITY, described.fingerprint).toString('hex');
}

/** Every byte in lower case, and a space as a plus. */
function encodedOtherwise(text: string): string {
  return [...Buffer.from(text)].map((one) => (one === 0x20 ? '+' : `%${one.toString(16).padStart(2, '0')}`)).join('');
}

function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, member]) => [key, reordered(member)] as const);
  return Object.fromEntries(entries.reverse());
}

/** JSON text of a value that a parser made, with white space. */
const jsonText = json.map((value) => textOfJson(value));

function textOfJson(value: unknown): string {
  if (value === Infinity) return '1e999';
  if (value === -Infinity) return '-1e999';
  if (Array.isArray(value)) return `[ ${value.map(textOfJson).join(' ,')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, member]) => `${JSON.stringify(key)}: ${textOfJson(member)}`)
    .join(',\n')}}`;
}

/** Of bytes that are, and are not, UTF-8. */
const rawQuery = fc
  .array(fc.constantFrom('%FF', '%FE', '%C3%A9', '%ef%bf%bd', '%', '%4', 'a', 'b', '=', '&', '+', '%25FF', '%26'), {
    maxLength: 6,
  })
  .map((parts) => parts.join(''));

const HEAD = Buffer.alloc(32, 'h');

/** The fingerprint of a body that comes in pieces of these sizes. */
async function streamed(bytes: Buffer, sizes: readonly number[], contentType?: string): Promise<string> {
  const stream = new PassThrough();
  const exchange = {
    request: { headers: { 'content-type': contentType } },
    rawResponse: new EventEmitter(),
  } as unknown as Exchange;
  const body = new StreamedBody(stream, HEAD, exchange);
  let at = 0;
  for (const size of sizes) {
    if (size > 0 && at < bytes.length) stream.write(bytes.subarray(at, (at += size)));
  }
  stream.end(bytes.subarray(at));
  stream.resume();
  await new Promise((resolve) => stream.once('end', resolve));
  return (await body.fingerprint()).toString('hex');
}

const bytes = fc
  .string({ unit: fc.constantFrom('a', 'b', '-', '\r', '\n', '\0', '\xff'), maxLength: 40 })
  .map((text) => Buffer.from(text, 'latin1'));
const sizes = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 8 });
const part = fc.record(
  {
    name: textOf('ab', 2),
    content: fc.string({ unit: fc.constantFrom('a', '-', '\r', '\n', '\xff'), maxLength: 12 }),
  },
  { noNullPrototype: true },
);
const boundary = fc.constantFrom('x', 'frontier', '----WebKitFormBoundary7MA4YWxkTrZu0gW', '-');

const multipartOf = (parts: readonly { name: string; content: string }[], mark: string) =>
  Buffer.from(
    `${parts.map(({ name: field, content }) => `--${mark}\r\nContent-Disposition: form-data; name="${field}"\r\n\r\n${content}\r\n`).join('')}--${mark}--\r\n`,
    'latin1',
  );

export const fingerprints: readonly Property[] = [
  property('two requests have one fingerprint where they are one request, and never else', [pair], async ([a, b]) => {
    const [first, other] = [await fingerprintOf(a), await fingerprintOf(b)];
    equal(first === other, isSame(a, b));
  }),
  property('a request is itself, however it is spelt', [meant], async (one) => {
    equal(await fingerprintOf(one, 1), await fingerprintOf(one));
  }),
  property(
    'two JSON texts have one canonical form where a parser makes the same of both, and never else',
    [jsonText, jsonText],
    (a, b) => {
      const [one, other] = [JSON.parse(a) as unknown, JSON.parse(b) as unknown];
      equal(canonicalJson(one) === canonicalJson(other), isDeepStrictEqual(positive(one), positive(other)));
      // What is kept of a request is read again as JSON.
      const again = canonicalJson(JSON.parse(canonicalJson(one)));
      if (!a.includes('1e999')) equal(again, canonicalJson(one));
    },
    JSON_TEXTS,
  ),
  property(
    'canonical JSON is as another implementation has it',
    [fc.anything({ withDate: true, withNullPrototype: true, withBoxedValues: true })],
    (value) => {
      let expected: string | undefined;
      try {
        expected = canonicalize(value);
      } catch {
        return;
      }
      equal(canonicalJson(value), expected ?? '');
    },
  ),
  property(
    'two queries that a parser of a platform distinguishes are two requests',
    [rawQuery, rawQuery],
    async (a, b) => {
      const differ = [querystring.parse, fastQuerystring.parse].some(
        (parse) => !isDeepStrictEqual({ ...parse(a) }, { ...parse(b) }),
      );
      if (!differ) return;
      const [one, other] = await Promise.all([a, b].map((query) => fingerprint({ url: `/?${query}`, request: {} })));
      notEqual(one, other);
    },
    QUERIES,
  ),
  property(
    'a streamed body is itself in whatever pieces it comes, and no other',
    [bytes, bytes, sizes, sizes],
    async (a, b, as, bs) => {
      const one = await streamed(a, as);
      const sum = createHash('sha256').update(HEAD).update(a).digest();
      sum[25] = 1;
      sum.writeUIntBE(a.length, 26, 6);
      equal(one, sum.toString('hex'));
      equal(one === (await streamed(b, bs)), a.equals(b));
    },
  ),
  property(
    'a streamed form is itself with another boundary and in other pieces, and no other',
    [fc.array(part, { maxLength: 3 }), fc.array(part, { maxLength: 3 }), boundary, boundary, sizes, sizes],
    async (a, b, aMark, bMark, as, bs) => {
      // A boundary does not occur within a part (RFC 2046, section 5.1.1).
      if ([...a, ...b].some(({ content }) => [aMark, bMark].some((mark) => `\r\n${content}`.includes(`--${mark}`))))
        return;
      const of = (parts: typeof a, mark: string, pieces: number[]) =>
        streamed(multipartOf(parts, mark), pieces, `multipart/form-data; boundary="${mark}"`);
      const one = await of(a, aMark, as);
      equal(await of(a, bMark, bs), one);
      equal((await of(b, bMark, bs)) === one, isDeepStrictEqual(a, b));
    },
  ),
];
