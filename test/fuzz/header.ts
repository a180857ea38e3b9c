import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import fc from 'fast-check';
import { retryAfter } from '../../lib/client/retry-after.js';
import { readKeyHeader } from '../../lib/edges/shared/key-header.js';
import { withPreference } from '../../lib/edges/shared/prefer-wait.js';
import type { Policy } from '../../lib/engine/policy.js';
import { HEADERS, PREFERENCES, RETRY_AFTERS } from './corpus/header.js';
import { type KeyReading, readingOf } from '../support/key-reading.js';
import { headersOf } from '../support/sent-headers.js';
import { byte, property, type Property, textOf, visible } from './property.js';

const NAME = 'Idempotency-Key';
const keyFormat = { minLength: 1, maxLength: 255, pattern: /^[\x21-\x7e]+$/ };
const SETTINGS = { header: NAME, keyFormat, documentation: undefined };

const readLines = (lines: string[]): KeyReading => readingOf(() => readKeyHeader(headersOf(lines), lines, SETTINGS));
const read = (...values: string[]): KeyReading => readLines(['Host', 'a', ...values.flatMap((value) => [NAME, value])]);
const keyOf = (reading: KeyReading) => (reading.kind === 'key' ? reading.key : undefined);

/** RFC 9651, sections 3.1.2 and 3.3, written as one expression each. */
const CHARACTERS = String.raw`(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*`;
const BARE_ITEM = [
  String.raw`-?\d{1,12}\.\d{1,3}`,
  String.raw`-?\d{1,15}`,
  `"${CHARACTERS}"`,
  String.raw`[A-Za-z*][!#$%&'*+.^_\x60|~0-9A-Za-z:/-]*`,
  String.raw`:(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?:`,
  String.raw`\?[01]`,
  String.raw`@-?\d{1,15}`,
  String.raw`%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-7][0-9a-f])*"`,
].join('|');
const PARAMETERS = String.raw`(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:${BARE_ITEM}))?)*`;
const ITEM = new RegExp(`^"(${CHARACTERS})"${PARAMETERS}$`);

/** What the value of one header line is, by the grammar; `undefined`: no key. */
function expectedKey(value: string): string | undefined {
  let text = value;
  while (/^[ \t]/.test(text)) text = text.slice(1);
  while (/[ \t]$/.test(text)) text = text.slice(0, -1);
  const key = text.includes('"') ? ITEM.exec(text)?.[1].replaceAll(/\\(.)/g, '$1') : text;
  if (key === undefined || key.length < 1 || key.length > 255) return undefined;
  return /^[!-~]+$/.test(key) ? key : undefined;
}

const quoted = (text: string) => `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
const key = fc.string({ unit: visible, minLength: 1, maxLength: 255 });
const parameter = fc
  .tuple(
    textOf('ab*_-.9', 3),
    fc.oneof(
      fc.constantFrom('', '=1', '=-1.5', '=?1', '=tok/en:', '=:YWJj:', '=%"a%20b"', '="x y"'),
      // Without `@`: the parser of structured-headers 2.1.0 takes one character more than a date has. No key has a parameter.
      textOf('=1.-?"\\:%a ', 5),
    ),
  )
  .map(([name, rest]) => `;${name}${rest}`);
const headerValue = fc.oneof(
  fc.string({ unit: byte, maxLength: 300 }),
  textOf('" \\\t;,=a?:()%1', 20),
  key.map(quoted),
  key,
  fc.tuple(key, fc.array(parameter, { maxLength: 3 })).map(([text, more]) => quoted(text) + more.join('')),
  fc.tuple(textOf(' \t', 2), key, textOf(' \t', 2)).map(([before, text, after]) => before + quoted(text) + after),
  fc.tuple(key, fc.string({ unit: byte, maxLength: 5 })).map(([text, more]) => quoted(text) + more.replaceAll('@', '')),
);

const POLICY = { waitTimeoutMs: 10_000, onConflict: 'wait' } as Policy;
const preference = fc.constantFrom('respond-async', 'return=minimal', 'handling=lenient', 'x="a, wait=1"', 'y=1;z=2');
const wait = fc.oneof(fc.integer({ min: 0, max: 1_000 }), fc.integer({ min: 0, max: 999_999_999_999 }));

/** 1 January 2000 to the end of 2068: a year of two digits is within fifty years of ours. */
const instant = fc.integer({ min: 946_684_800, max: 3_124_223_999 });

export const header: readonly Property[] = [
  property(
    'a line of the key header is what the grammar of RFC 9651 says',
    [headerValue],
    (value) => {
      const expected = expectedKey(value);
      const reading = read(value);
      equal(keyOf(reading), expected);
      equal(reading.kind, expected === undefined ? 'invalid' : 'key');
      equal(read(value, value).kind, 'invalid');
      if (reading.kind === 'invalid') ok(!/[^\x20-\x7e]/.test(reading.problem), 'a problem shows what was sent');
    },
    HEADERS,
  ),
  property(
    'a key is the same, quoted and bare, with white space about it and in a header of any case',
    [key],
    (text) => {
      for (const value of [quoted(text), `\t ${quoted(text)} `]) equal(keyOf(read(value)), text);
      const bare = text.replaceAll('"', "'");
      equal(keyOf(read(bare)), bare);
      equal(keyOf(readLines([NAME.toUpperCase(), bare])), bare);
    },
  ),
  property(
    'Prefer: wait=N is taken wherever it stands, and never for longer than the operation allows',
    [fc.array(preference, { maxLength: 3 }), wait, fc.array(preference, { maxLength: 3 }), fc.boolean()],
    (before, seconds, after, lines) => {
      const all = [...before, `wait=${seconds}`, ...after];
      const prefer = lines ? all : all.join(', ');
      deepStrictEqual(withPreference(POLICY, prefer), { ...POLICY, waitTimeoutMs: Math.min(10_000, seconds * 1_000) });
    },
  ),
  property(
    'whatever Prefer says, a request waits for no longer than the operation allows',
    [fc.oneof(fc.string({ unit: byte, maxLength: 40 }), textOf('wait=0123456789.-,; "', 20))],
    (prefer) => {
      const { waitTimeoutMs, ...others } = withPreference(POLICY, prefer);
      ok(waitTimeoutMs >= 0 && waitTimeoutMs <= 10_000);
      deepStrictEqual(others, { onConflict: 'wait' });
    },
    PREFERENCES,
  ),
  property(
    'Retry-After: seconds, and a date in all forms of RFC 9110',
    [instant, fc.integer({ min: 0, max: 86_400 })],
    (at, wait) => {
      const now = at * 1_000;
      const then = new Date(now + wait * 1_000);
      const parsed = (value: string, more: Record<string, string> = {}) =>
        retryAfter(new Headers({ 'retry-after': value, ...more }), now);
      equal(parsed(String(wait)), wait * 1_000);
      for (const form of formsOf(then)) {
        equal(parsed(form), wait * 1_000);
        // By the server's clock, which is a day ahead.
        const date = new Date(now + 86_400_000).toUTCString();
        equal(parsed(form, { date }), Math.max(0, wait * 1_000 - 86_400_000));
      }
    },
  ),
  property(
    'whatever Retry-After says, it is a time to wait or nothing',
    [fc.oneof(fc.string({ unit: visible, maxLength: 30 }), textOf('0123456789 GMTFri,:Nov-', 32))],
    (value) => {
      const parsed = retryAfter(new Headers({ 'retry-after': value }), 0);
      // More seconds than a number can hold are longer than any deadline.
      ok(parsed === undefined || parsed >= 0, String(parsed));
    },
    RETRY_AFTERS,
  ),
];

const WEEKDAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

function formsOf(date: Date): string[] {
  const preferred = date.toUTCString();
  const [, day, month, year, time] = /^\w+, (\d\d) (\w+) (\d+) ([\d:]+) GMT$/.exec(preferred)!;
  const weekday = WEEKDAYS[date.getUTCDay()];
  const asctime = `${weekday.slice(0, 3)} ${month} ${String(Number(day)).padStart(2)} ${time} ${year}`;
  // A year of two digits says nothing of those half a century away.
  const isNear = Number(year) < 2050;
  return [preferred, asctime, ...(isNear ? [`${weekday}, ${day}-${month}-${year.slice(2)} ${time} GMT`] : [])];
}
