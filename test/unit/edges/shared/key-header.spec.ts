import fc from 'fast-check';
import { readKeyHeader } from '../../../../lib/edges/shared/key-header.js';
import { type KeyReading, readingOf } from '../../../support/key-reading.js';
import { headersOf } from '../../../support/sent-headers.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? 2_000);
const FORMAT = { minLength: 1, maxLength: 255, pattern: /^[\x21-\x7e]+$/ };
const NAME = 'Idempotency-Key';

const readLines = (lines: string[], keyFormat = FORMAT): KeyReading =>
  readingOf(() => readKeyHeader(headersOf(lines), lines, { header: NAME, keyFormat, documentation: undefined }));
const read = (...values: string[]): KeyReading => readLines(['Host', 'a', ...values.flatMap((value) => [NAME, value])]);
const keyOf = (reading: KeyReading) => (reading.kind === 'key' ? reading.key : undefined);
const quoted = (key: string) => `"${key.replaceAll(/["\\]/g, '\\$&')}"`;

const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const key = fc.string({ unit: visible, minLength: 1, maxLength: 255 });
const byte = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const anything = fc.oneof(
  fc.string({ unit: byte, maxLength: 300 }),
  fc.string({ unit: fc.constantFrom('"', '\\', ' ', '\t', ';', ',', '=', 'a', '?', ':', '(', ')'), maxLength: 20 }),
  key.map(quoted),
  fc.tuple(key, fc.string({ unit: byte, maxLength: 5 })).map(([text, more]) => quoted(text) + more),
);

describe('the key header', () => {
  test.each([
    ['abc', 'abc'],
    ['"abc"', 'abc'],
    [' \t"abc"\t ', 'abc'],
    [' abc ', 'abc'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    ['a\\b', 'a\\b'],
    ['"abc";a=1;b="x y"', 'abc'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['order:17/EUR?x=[1]&y={2}', 'order:17/EUR?x=[1]&y={2}'],
    ['a,b', 'a,b'],
    ['x'.repeat(255), 'x'.repeat(255)],
    [`"${'x'.repeat(255)}"`, 'x'.repeat(255)],
  ])('%j is the key %j', (value, expected) => {
    expect(read(value)).toEqual({ kind: 'key', key: expected });
  });

  test.each([
    '',
    ' ',
    '""',
    '"',
    '"abc',
    'abc"',
    'a"b',
    '"a"b"',
    '"abc" "def"',
    '"a", "b"',
    'a, b',
    'two words',
    '"two words"',
    '"a\\b"',
    '"abc";',
    '"abc";;a',
    '"abc" x',
    '("abc")',
    '("abc");a',
    'abc;a="x"',
    '1;a="x"',
    '?1;a="x"',
    ':YWJj:;a="x"',
    '\u00a0abc',
    'abc\u00a0',
    '\u000babc',
    'abc\u0085',
    '"caf\u00e9"',
    'caf\u00e9',
    'x'.repeat(256),
    `"${'x'.repeat(256)}"`,
  ])('%j is no key', (value) => {
    expect(read(value).kind).toBe('invalid');
  });

  test('every byte, at the beginning, in the middle and at the end', () => {
    for (let code = 0; code < 256; code++) {
      const at = String.fromCharCode(code);
      const isVisible = code >= 0x21 && code <= 0x7e && at !== '"';
      const isSpace = at === ' ' || at === '\t';
      expect([code, keyOf(read(`a${at}b`))]).toEqual([code, isVisible ? `a${at}b` : undefined]);
      expect([code, keyOf(read(`${at}b`))]).toEqual([code, isVisible ? `${at}b` : isSpace ? 'b' : undefined]);
      expect([code, keyOf(read(`a${at}`))]).toEqual([code, isVisible ? `a${at}` : isSpace ? 'a' : undefined]);
      const escapes = at === '"' || at === '\\';
      expect([code, keyOf(read(`"a${escapes ? '\\' : ''}${at}b"`))]).toEqual([
        code,
        isVisible || escapes ? `a${at}b` : undefined,
      ]);
    }
  });

  test.each([
    ['a"b', 'The Idempotency-Key header is neither a quoted string nor a bare token.'],
    ['""', 'The Idempotency-Key header is empty.'],
    [' ', 'The Idempotency-Key header is empty.'],
    ['x'.repeat(256), 'The Idempotency-Key has to have 1 to 255 characters.'],
    ['two words', 'The Idempotency-Key has characters that are not allowed.'],
  ])('%j: it is said why', (value, problem) => {
    expect(read(value)).toEqual({ kind: 'invalid', problem });
  });

  /** By a pattern that began at every space of a run, this took half a minute, and 16 KiB of them 0.17 s. */
  test('a long run of spaces within a line is read in one pass', () => {
    const startedAt = performance.now();
    expect(read(`a${' '.repeat(200_000)}b`).kind).toBe('invalid');
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });

  test('absent and repeated', () => {
    expect(read()).toEqual({ kind: 'missing' });
    expect(readLines(['X-Forwarded-Foo', 'a'])).toEqual({ kind: 'missing' });
    expect(read('a', 'a')).toEqual({ kind: 'invalid', problem: 'The Idempotency-Key header is repeated.' });
    expect(read('a', 'b').kind).toBe('invalid');
    expect(readLines(['IDEMPOTENCY-KEY', 'a', 'idempotency-key', 'a']).kind).toBe('invalid');
    expect(keyOf(readLines(['iDEMPOTENCY-kEY', 'a']))).toBe('a');
  });

  test('a format of its own', () => {
    const uuid = { minLength: 36, maxLength: 36, pattern: /^[0-9a-f-]+$/ };
    expect(readLines([NAME, '8e03978e-40d5-43dd-bc93-6894a57f9324'], uuid).kind).toBe('key');
    for (const value of ['8e03978e', '8E03978E-40d5-43dd-bc93-6894a57f9324', 'x'.repeat(36)]) {
      expect(readLines([NAME, value], uuid).kind).toBe('invalid');
    }
  });

  test('a problem never shows what was sent', () => {
    for (const value of ['secret words', '"secret', `secret${'x'.repeat(300)}`, 'secret\u00e9']) {
      const reading = read(value);
      expect(reading.kind === 'invalid' && reading.problem.includes('secret')).toBe(false);
    }
  });

  test('whatever comes, it is a sound key or it is refused', () => {
    fc.assert(
      fc.property(anything, (value) => {
        const reading = read(value);
        expect(reading.kind).not.toBe('missing');
        if (reading.kind === 'invalid') return;
        const found = keyOf(reading)!;
        expect(found).toMatch(/^[\x21-\x7e]{1,255}$/);
        // A retry finds it again: as it was sent, quoted, and with white space about it.
        for (const again of [value, quoted(found), ` ${value}\t`]) expect(keyOf(read(again))).toBe(found);
        expect(read(value, value).kind).toBe('invalid');
      }),
      { numRuns: RUNS },
    );
  });

  test('every sound key is accepted, quoted and bare, and is the same', () => {
    fc.assert(
      fc.property(key, (text) => {
        expect(keyOf(read(quoted(text)))).toBe(text);
        const bare = text.replaceAll('"', "'");
        expect(keyOf(read(bare))).toBe(bare);
      }),
      { numRuns: RUNS },
    );
  });
});

describe('where the headers and what was sent differ', () => {
  const SETTINGS = { header: NAME, keyFormat: FORMAT, documentation: undefined };
  const read = (value: string | string[] | undefined, raw?: string[]) =>
    readingOf(() => readKeyHeader({ 'idempotency-key': value }, raw, SETTINGS));

  test('what middleware has set counts', () => {
    expect(read('new', [NAME, 'old'])).toEqual({ kind: 'key', key: 'new' });
    expect(read('new', [NAME, 'old', NAME, 'older'])).toEqual({ kind: 'key', key: 'new' });
    expect(read('new', ['X-Key-Of-Length', 'new', 'Host', 'a'])).toEqual({ kind: 'key', key: 'new' });
    expect(read('new')).toEqual({ kind: 'key', key: 'new' });
    expect(read(['new'])).toEqual({ kind: 'key', key: 'new' });
  });

  test('what middleware has removed is not there', () => {
    expect(read(undefined, [NAME, 'old'])).toEqual({ kind: 'missing' });
  });

  test('a header that was repeated is invalid, though node joined its lines', () => {
    expect(read('a, b', [NAME, 'a', NAME, 'b'])).toMatchObject({ kind: 'invalid' });
    expect(read('a', [NAME, 'a', NAME.toLowerCase(), 'b'])).toMatchObject({ kind: 'invalid' });
    expect(read(['a', 'b'])).toMatchObject({ kind: 'invalid' });
    // Of the same length as the header's name.
    expect(read('a', ['Idempotency-Kex', 'b', NAME, 'a'])).toEqual({ kind: 'key', key: 'a' });
  });
});
