import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { headSince, packHead, unpackHead } from '../../lib/edges/content/response-head.js';
import { restoreOutcome } from '../../lib/edges/http/write-response.js';
import { unpackAnswer } from '../../lib/edges/content/value-outcome.js';
import { UnreadableRecordError } from '../../lib/engine/errors.js';
import { ANSWERS, HEADS } from './corpus/heads.js';
import { property, type Property, textOf } from './property.js';

const OPTIONS = { include: undefined, exclude: new Set<string>() };

const newResponse = () => new ServerResponse(new IncomingMessage(new Socket()));

/** Names that no rule of replays is about, in any spelling. */
const name = fc
  .tuple(fc.constantFrom('X-', 'x-', 'Content-', 'L'), textOf('abAB!#$%&*+.^_`|~09-', 5))
  .map(([start, rest]) => `${start}q${rest}`);
/** RFC 9110, section 5.5: visible ASCII and bytes beyond it, with spaces between. */
const value = fc.string({
  unit: fc.integer({ min: 0x20, max: 0xff }).map((code) => String.fromCharCode(code === 0x7f ? 0x20 : code)),
  maxLength: 20,
});
const headers = fc.uniqueArray(fc.tuple(name, fc.oneof(value, fc.array(value, { minLength: 1, maxLength: 3 }))), {
  selector: ([one]) => one.toLowerCase(),
  maxLength: 5,
});
const status = fc.integer({ min: 200, max: 599 });

/** What may stand in a column instead of a head or a body. */
export const garbage = fc.oneof(
  fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
  fc.json({ maxDepth: 3 }).map((text) => Buffer.from(text)),
  fc
    .record(
      {
        headers: fc.oneof(
          fc.jsonValue({ maxDepth: 2 }),
          fc.array(fc.tuple(fc.string(), fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 1 })))),
        ),
        removed: fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.array(fc.string())),
        statusMessage: fc.oneof(fc.jsonValue({ maxDepth: 1 }), fc.string()),
      },
      { requiredKeys: [] },
    )
    .map((head) => Buffer.from(JSON.stringify(head))),
);
const code = fc.oneof(status, fc.integer(), fc.constantFrom(-1, 0, 1, 99, 100, 199, 999, 1_000, 65_535));

const typed = fc.constantFrom('date', 'bigint', 'number', 'buffer', 'bytes', 'map', 'set', 'undefined', 'toString', '');
const path = fc.array(fc.constantFrom('a', '0', '', '__proto__', 'constructor', 'prototype', 'x'), { maxLength: 3 });
const garbledHead = fc.oneof(
  garbage,
  fc
    .record(
      {
        kind: fc.oneof(fc.constantFrom('value', 'values', 'error'), fc.jsonValue({ maxDepth: 0 })),
        types: fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.array(fc.tuple(path, typed), { maxLength: 3 })),
        error: fc.oneof(
          fc.jsonValue({ maxDepth: 2 }),
          fc.record({ name: fc.string(), message: fc.string(), status: fc.integer() }),
        ),
      },
      { requiredKeys: [] },
    )
    .map((head) => Buffer.from(JSON.stringify(head))),
);
const garbledBody = fc.option(
  fc.oneof(
    garbage,
    fc.json({ maxDepth: 2 }).map((text) => Buffer.from(text)),
  ),
);

/** Several lines of a name are one list (RFC 9110, section 5.3). */
const linesOf = (response: ServerResponse) =>
  Object.fromEntries(Object.entries(response.getHeaders()).map(([one, text]) => [one, String(text)]));

export const heads: readonly Property[] = [
  property(
    'a response is replayed as it was written',
    [status, headers, headers, fc.constantFrom('', 'Made', 'a b')],
    (made, before, own, message) => {
      const first = newResponse();
      for (const [one, text] of before) first.setHeader(one, text);
      const headersBefore = first.getHeaders();
      for (const [one, text] of own) first.setHeader(one, text);
      first.statusMessage = message;
      const packed = packHead(headSince(first, headersBefore, OPTIONS));

      const replayed = newResponse();
      for (const [one, text] of before) replayed.setHeader(one, text);
      const body = restoreOutcome(replayed, replayed, { code: made, head: packed, body: Buffer.from('x') });
      equal(body?.toString(), 'x');
      equal(replayed.statusCode, made);
      equal(replayed.statusMessage ?? '', message);
      deepStrictEqual(linesOf(replayed), { ...linesOf(first), 'idempotent-replayed': 'true' });
    },
  ),
  property(
    'whatever stands in a row, it is replayed as a response that node can send, or is unreadable',
    [code, fc.option(garbage), fc.option(garbage)],
    (made, head, body) => {
      const response = newResponse();
      response.setHeader('X-Before', '1');
      try {
        restoreOutcome(response, response, { code: made, head, body });
      } catch (error) {
        ok(error instanceof UnreadableRecordError, String(error));
        equal(response.getHeaderNames().join(), 'x-before');
        return;
      }
      // Node checks the status and its message now.
      response.end(body);
      ok(response.headersSent);
    },
    HEADS,
  ),
  property('a head that cannot be read says so, and nothing else', [garbage], (bytes) => {
    try {
      const { headers: lines, removed = [] } = unpackHead(bytes);
      ok(
        lines.every(
          ([one, text]) => typeof one === 'string' && [text].flat().every((part) => typeof part === 'string'),
        ),
      );
      ok(removed.every((one) => typeof one === 'string'));
    } catch (error) {
      ok(error instanceof UnreadableRecordError, String(error));
    }
  }),
  property(
    'whatever stands in a row, its answer is a value or an error, and no object knows of it afterwards',
    [garbledHead, garbledBody],
    async (head, body) => {
      const before = Object.getOwnPropertyNames(Object.prototype).join();
      try {
        const { values, thrown } = await unpackAnswer({ code: 1, head, body });
        ok(Array.isArray(values));
        ok(thrown === undefined || thrown.error instanceof Error);
      } catch (error) {
        ok(error instanceof UnreadableRecordError, String(error));
      }
      equal(Object.getOwnPropertyNames(Object.prototype).join(), before);
    },
    ANSWERS,
  ),
];
