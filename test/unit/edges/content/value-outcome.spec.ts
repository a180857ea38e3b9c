/** @isolated: a test is about what a process has not seen yet. */
import { Metadata } from '@grpc/grpc-js';
import { ConflictException, HttpException, NotFoundException } from '@nestjs/common';
import { KafkaRetriableException, RpcException } from '@nestjs/microservices';
import { GraphQLError } from 'graphql';
import { type Answer, packAnswer, unpackAnswer, unpackValue } from '../../../../lib/edges/content/value-outcome.js';
import { IdempotencyKeyReusedException } from '../../../../lib/index.js';
import { UnreadableRecordError } from '../../../../lib/engine/errors.js';
import { isTombstone, type StoredOutcome, VALUE_CODE } from '../../../../lib/engine/outcome.js';

const PLENTY = 1_000;
const again = (answer: Answer) => unpackAnswer(packAnswer(answer, PLENTY));
const thrownAgain = async (error: unknown) => {
  const { values, thrown } = await again({ values: [], thrown: { error } });
  expect(values).toEqual([]);
  return thrown!.error as Error & Record<string, unknown>;
};
const stored = (head: object | null, body?: string): StoredOutcome => ({
  code: VALUE_CODE,
  head: head && Buffer.from(JSON.stringify(head)),
  body: body === undefined ? null : Buffer.from(body),
});

describe('an answer', () => {
  test.each<[string, Answer]>([
    ['one value', { values: [{ at: new Date(0), amount: 10n }] }],
    ['an undefined one', { values: [undefined] }],
    ['none', { values: [] }],
    ['several', { values: [1, [2], new Date(3)] }],
  ])('of %s is the same again', async (_what, answer) => {
    expect(await again(answer)).toEqual(answer);
    expect(await unpackValue(packAnswer(answer, PLENTY))).toEqual(answer.values.at(-1));
  });

  test('of values and an error has both, and a value that is read throws', async () => {
    const packed = packAnswer({ values: [1, 2], thrown: { error: new RangeError('too many') } }, PLENTY);
    const { values, thrown } = await unpackAnswer(packed);
    expect([values, thrown!.error]).toMatchObject([[1, 2], { name: 'RangeError', message: 'too many' }]);
    await expect(unpackValue(packed)).rejects.toThrow('too many');
  });

  test('is kept up to a number of bytes, and an error always', () => {
    const answer = { values: ['x'.repeat(8)] };
    expect(isTombstone(packAnswer(answer, 10))).toBe(false);
    expect(isTombstone(packAnswer(answer, 9))).toBe(true);
    expect(isTombstone(packAnswer({ values: [], thrown: { error: new Error('long') } }, 0))).toBe(false);
  });

  test.each([
    ['a head that is no JSON', { ...stored({}), head: Buffer.from('{') }],
    ['several values that are no list', stored({ kind: 'values' }, '{}')],
    ['a response over HTTP', { ...stored({ headers: [] }, '{"message":"declined"}'), code: 402 }],
    ['a body that is no JSON', stored({ kind: 'value' }, '{')],
  ])('with %s cannot be read', async (_what, outcome) => {
    await expect(unpackAnswer(outcome)).rejects.toThrow(UnreadableRecordError);
    await expect(unpackAnswer(outcome)).rejects.toMatchObject({ cause: expect.any(Error) });
  });

  test('without a head is a value', async () => {
    expect(await unpackAnswer(stored(null, '{"a":1}'))).toEqual({ values: [{ a: 1 }] });
  });
});

describe('an error', () => {
  test('of HTTP has its status and its response', async () => {
    for (const response of ['text', { code: 'no-money' }]) {
      const error = await thrownAgain(new HttpException(response, 402));
      expect(error).toBeInstanceOf(HttpException);
      expect([(error as never as HttpException).getStatus(), (error as never as HttpException).getResponse()]).toEqual([
        402,
        response,
      ]);
    }
    const bare = await unpackAnswer(stored({ kind: 'error', error: { name: 'E', message: 'm', status: 402 } }));
    expect((bare.thrown!.error as HttpException).getResponse()).toBe('m');
  });

  test('of HTTP is of its class, or of the nearest one that all processes know', async () => {
    class OutOfStock extends ConflictException {}
    class Declined extends HttpException {}
    const classes = async (error: HttpException) => {
      const { name, constructor } = await thrownAgain(error);
      return [name, constructor];
    };
    expect(await classes(new NotFoundException())).toEqual(['NotFoundException', NotFoundException]);
    expect(await classes(new OutOfStock())).toEqual(['OutOfStock', ConflictException]);
    expect(await classes(new Declined('no', 402))).toEqual(['Declined', HttpException]);
    const refusal = new IdempotencyKeyReusedException({ detail: 'of another order', documentation: 'https://docs' });
    const replayed = (await thrownAgain(refusal)) as never as IdempotencyKeyReusedException;
    expect(replayed).toBeInstanceOf(IdempotencyKeyReusedException);
    expect([replayed.message, replayed.retryable, replayed.code]).toEqual(['of another order', false, 'key-reused']);
    expect(replayed.extensions).toEqual(refusal.extensions);
    const unknown = stored({ kind: 'error', error: { name: 'E', message: 'm', status: 402, class: 'Former' } });
    expect((await unpackAnswer(unknown)).thrown!.error).toBeInstanceOf(HttpException);
  });

  test('of gRPC has its metadata, once this process has seen any', async () => {
    const payload = { metadata: { reason: ['x'] }, code: 9 };
    const outcome = stored({
      kind: 'error',
      error: { name: 'E', message: 'm', grpc: true, payload: { json: JSON.stringify(payload) } },
    });
    const before = (await unpackAnswer(outcome)).thrown!.error as RpcException;
    expect(before.getError()).toEqual({ code: 9, metadata: undefined });

    const metadata = new Metadata();
    metadata.set('grpc-status-details-bin', Buffer.from([1, 2]));
    metadata.add('reason', 'one');
    metadata.add('reason', 'two');
    const replayed = (await thrownAgain(new RpcException({ code: 9, metadata }))) as never as RpcException;
    const { metadata: again } = replayed.getError() as { metadata: Metadata };
    expect(again).toBeInstanceOf(Metadata);
    expect(again.toJSON()).toEqual(metadata.toJSON());
    const plain = await thrownAgain(new RpcException({ metadata: { reason: 'x' } }));
    expect((plain as never as RpcException).getError()).toEqual({ metadata: { reason: 'x' } });
  });

  test('of a message handler has its payload', async () => {
    for (const payload of ['text', { code: 3, at: new Date(5) }]) {
      const error = await thrownAgain(new RpcException(payload));
      expect(error).toBeInstanceOf(RpcException);
      expect((error as never as RpcException).getError()).toEqual(payload);
    }
    // It returns itself.
    const retriable = await thrownAgain(new KafkaRetriableException('later'));
    expect([(retriable as never as RpcException).getError(), retriable.message]).toEqual(['later', 'later']);
  });

  test('of GraphQL has its extensions', async () => {
    const error = await thrownAgain(new GraphQLError('no', { extensions: { code: 'FORBIDDEN' } }));
    expect([error.message, error.extensions]).toEqual(['no', { code: 'FORBIDDEN' }]);
  });

  test('of another kind has its name and message, and what is none is one', async () => {
    class InsufficientFunds extends Error {
      override readonly name = 'InsufficientFunds';
    }
    const error = await thrownAgain(new InsufficientFunds('3 short'));
    expect([error.name, error.message, Object.keys(error)]).toEqual(['InsufficientFunds', '3 short', ['name']]);
    expect(await thrownAgain('text')).toMatchObject({ name: 'Error', message: 'text' });
  });
});
