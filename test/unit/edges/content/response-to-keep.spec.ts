import { HttpException } from '@nestjs/common';
import { RpcException } from '@nestjs/microservices';
import { packHead, unpackHead } from '../../../../lib/edges/content/response-head.js';
import { outcomeToKeep } from '../../../../lib/edges/content/response-to-keep.js';
import { packAnswer, unpackAnswer } from '../../../../lib/edges/content/value-outcome.js';
import { type StoredOutcome, TOMBSTONE } from '../../../../lib/engine/outcome.js';

const redact = ['/token', '/list/*/pin', '/at'];
const settings = { store: true, redact };

describe('of an HTTP response', () => {
  const response = (
    body: string | Uint8Array,
    type = 'application/json',
    more: [string, string][] = [],
  ): StoredOutcome => ({
    code: 201,
    head: packHead({ headers: [['Content-Type', type], ['Content-Length', '1'], ['X-Kept', '1'], ...more] }),
    body: Buffer.from(body as Uint8Array),
  });
  const kept = (outcome: StoredOutcome) => {
    const { code, head, body } = outcomeToKeep(outcome, settings);
    return { code, headers: unpackHead(head).headers.map(([name]) => name), body: body?.toString() };
  };

  test.each(['application/json', 'application/problem+json; charset=utf-8', 'text/json', 'APPLICATION/JSON'])(
    'the members are left out, and headers that describe the bytes: %s',
    (type) => {
      const digests: [string, string][] = [
        ['ETag', '"a"'],
        ['Content-Digest', 'x'],
        ['Digest', 'x'],
      ];
      expect(kept(response('{"z":1,"token":2,"list":[{"pin":3,"a":4}]}', type, digests))).toEqual({
        code: 201,
        headers: ['Content-Type', 'X-Kept'],
        body: '{"z":1,"list":[{"a":4}]}',
      });
    },
  );

  test('one without them is kept as it is', () => {
    for (const body of ['{ "b": 1.0, "a": 12345678901234567890 }', '[]', 'null', '7', '']) {
      const outcome = response(body);
      expect(outcomeToKeep(outcome, settings)).toBe(outcome);
    }
  });

  test.each<[string, StoredOutcome]>([
    ['text', response('token=1', 'text/plain')],
    ['text that could be JSON', response('{"token":1}', 'text/plain')],
    ['lines of JSON', response('{"token":1}\n{"token":2}', 'application/x-ndjson')],
    ['JSON that is none', response('{"token":1')],
    ['a text as JSON', response('"sk_live"')],
    ['bytes that are no UTF-8', response(Buffer.from('{"token":"é"}', 'latin1'))],
    [
      'an unknown coding',
      response('{"token":1}'.replace('t', '\x00'), 'application/json', [['Content-Encoding', 'zstd']]),
    ],
    ['no type', { code: 200, head: packHead({ headers: [] }), body: Buffer.from('{"token":1}') }],
  ])('what is not JSON is not kept: %s', (_, outcome) => {
    expect(outcomeToKeep(outcome, settings)).toBe(TOMBSTONE);
  });

  test('store: false keeps nothing of any', () => {
    for (const body of ['{}', '']) expect(outcomeToKeep(response(body), { store: false, redact: [] })).toBe(TOMBSTONE);
  });
});

describe('of an answer with values', () => {
  const kept = (values: unknown[], error?: unknown) => {
    const answer = { values, ...(error !== undefined && { thrown: { error } }) };
    return outcomeToKeep(packAnswer(answer, 10_000), settings);
  };

  test('values keep their types', async () => {
    const value = {
      token: 1n,
      at: new Date(5),
      list: [{ pin: Buffer.from('x'), since: new Date(7) }],
      gone: [undefined],
    };
    expect(await unpackAnswer(kept([value]))).toEqual({
      values: [{ list: [{ since: new Date(7) }], gone: [undefined] }],
    });
    expect(await unpackAnswer(kept([value, { token: 1 }]))).toEqual({
      values: [{ list: [{ since: new Date(7) }], gone: [undefined] }, {}],
    });
    expect(await unpackAnswer(kept([]))).toEqual({ values: [] });
    expect(await unpackAnswer(kept([undefined]))).toEqual({ values: [undefined] });
  });

  test('errors are without them', async () => {
    for (const error of [
      new HttpException({ token: 1, message: 'no' }, 409),
      Object.assign(new Error('no'), { extensions: { token: 1, code: 'NO' } }),
      new RpcException({ token: 1, at: new Date(1), message: 'no' }),
    ]) {
      const outcome = kept([], error);
      expect(outcome.head!.toString()).not.toMatch(/token|"at"/);
      expect((await unpackAnswer(outcome)).thrown!.error).toMatchObject({ message: 'no' });
    }
    expect(await unpackAnswer(kept([{ token: 1 }], new Error('late')))).toMatchObject({
      values: [{}],
      thrown: { error: { message: 'late' } },
    });
  });

  test.each([['text'], [Buffer.from('bytes')]])('what has no members is not kept: %p', (value) => {
    expect(kept([value])).toBe(TOMBSTONE);
  });
});
