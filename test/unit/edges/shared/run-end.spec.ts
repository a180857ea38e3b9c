import { Readable } from 'node:stream';
import { jest } from '@jest/globals';
import { HttpException, Logger, StreamableFile } from '@nestjs/common';
import {
  answerInstead,
  isStream,
  isWorkToBeDone,
  type RunSettings,
  storedResult,
  STORE_WITHOUT_RESPONSE,
  unstoredResult,
} from '../../../../lib/edges/shared/run-end.js';
import type { CurrentExecution } from '../../../../lib/engine/current-execution.js';
import { TransactionEndedError } from '../../../../lib/engine/errors.js';
import type { HandlerState } from '../../../../lib/engine/handler-calls.js';
import type { RecordingResult } from '../../../../lib/engine/recorder.js';
import { FAILED_TOMBSTONE, TOMBSTONE } from '../../../../lib/engine/outcome.js';
import {
  IdempotencyInProgressException,
  IdempotencyOutcomeUnknownException,
} from '../../../../lib/problems/problems.js';

const RELEASED = { kind: 'release' };
let lines: [level: string, line: string][];

beforeEach(() => {
  lines = [];
  for (const level of ['error', 'warn'] as const) {
    jest.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push([level, String(line)]));
  }
});
afterEach(() => void jest.restoreAllMocks());

describe('what the option `outcome` says', () => {
  let retention: number | undefined;
  beforeEach(() => (retention = undefined));

  function resultOf(
    outcome: () => unknown,
    {
      state = 'succeeded',
      status = 201,
      handlerFailed = false,
    }: { state?: HandlerState; status?: number; handlerFailed?: boolean } = {},
  ) {
    const settings = { endpoint: 'POST /x', options: { outcome } } as unknown as RunSettings;
    const execution = { setRetention: (ms: number) => (retention = ms) };
    const current = { calls: { state }, execution } as unknown as CurrentExecution;
    return unstoredResult(settings, { status, error: undefined, handlerFailed }, current);
  }

  it.each(['store', { store: true }, { store: true, retention: undefined }])('%j keeps the response', (verdict) => {
    expect([resultOf(() => verdict), retention, lines]).toEqual([undefined, undefined, []]);
  });

  it.each(['release', { store: false }])('%j frees the key of a response that is no failure', (verdict) => {
    expect([resultOf(() => verdict), retention, lines]).toEqual([RELEASED, undefined, []]);
  });

  it.each([
    ['after its success', {}, STORE_WITHOUT_RESPONSE],
    ['of the handler', { handlerFailed: true }, RELEASED],
    ['before the handler', { state: 'not begun' as const }, RELEASED],
  ])('a failure %s', (_when, more, expected) => {
    for (const status of [400, 500]) expect(resultOf(() => 'release', { status, ...more })).toEqual(expected);
  });

  it('a retention is that of the outcome', () => {
    expect([resultOf(() => ({ store: true, retention: '2m' })), retention]).toEqual([undefined, 120_000]);
    expect([resultOf(() => ({ store: false, retention: 5 })), retention]).toEqual([RELEASED, 5]);
  });

  it('an invalid retention changes nothing of the verdict', () => {
    expect([resultOf(() => ({ store: false, retention: 'long' })), retention]).toEqual([RELEASED, undefined]);
    expect(lines).toEqual([['error', 'POST /x: the option `outcome` failed']]);
  });

  const failing = (): never => {
    throw undefined;
  };
  it.each<[string, () => unknown]>([
    ['a promise', () => Promise.resolve('store')],
    ['a promise that fails', () => Promise.reject(new Error('no'))],
    ['a number', () => 1],
    ['nothing', () => undefined],
    ['null', () => null],
    ['another text', () => 'stored'],
    ['an object without `store`', () => ({ retention: 5 })],
    ['an error', failing],
  ])('%s is no verdict, and the status decides', (_what, outcome) => {
    expect([resultOf(outcome), resultOf(outcome, { status: 503, handlerFailed: true })]).toEqual([undefined, RELEASED]);
    expect(lines).toEqual(Array(2).fill(['error', 'POST /x: the option `outcome` failed']));
  });

  it('says what it got instead of a verdict', () => {
    const stacks: unknown[] = [];
    jest
      .spyOn(Logger.prototype, 'error')
      .mockImplementation((_line: unknown, stack: unknown) => void stacks.push(stack));
    for (const odd of [Promise.resolve('store'), { a: { b: 1 } }]) resultOf(() => odd);
    expect(stacks.map((stack) => String(stack).split('\n')[0])).toEqual([
      "TypeError: `outcome` has to return 'store', 'release' or { store: boolean }, and returned a promise",
      "TypeError: `outcome` has to return 'store', 'release' or { store: boolean }, and returned { a: [Object] }",
    ]);
  });
});

it('a response that is not kept leaves what the handler came to', () => {
  const outcome = { code: 200, head: null, body: Buffer.from('{}') };
  expect(storedResult(outcome, false, false)).toEqual({ kind: 'store', outcome, failed: false, tombstone: TOMBSTONE });
  expect(storedResult(TOMBSTONE, true, true)).toEqual({
    kind: 'store',
    outcome: FAILED_TOMBSTONE,
    failed: true,
    tombstone: FAILED_TOMBSTONE,
  });
  expect(storedResult(TOMBSTONE, true, false)).toMatchObject({ outcome: TOMBSTONE, tombstone: TOMBSTONE });
});

const STREAMS = [Readable.from([]), new StreamableFile(Buffer.alloc(1)), (async function* () {})(), { pipe() {} }];

it('streams are what can be read as one', () => {
  expect(STREAMS.map(isStream)).toEqual(STREAMS.map(() => true));
  expect([undefined, null, 'text', {}, [1], { pipe: true }, () => undefined].some(isStream)).toBe(false);
});

it('work to be done is what has functions, where no response has them', () => {
  const work = [() => 1, { run() {} }, [() => 1], { status: 200, body: { later: () => 1 } }];
  expect(work.map((value) => isWorkToBeDone(value))).toEqual(work.map(() => true));
  const none = [
    undefined,
    null,
    'text',
    7,
    {},
    { a: { b: 1 } },
    { a: { b: { c: () => 1 } } },
    { toJSON: () => 1 },
    ...STREAMS,
  ];
  expect(none.filter((value) => isWorkToBeDone(value))).toEqual([]);
});

describe('what is answered instead', () => {
  const busy = new Error('deadlock');
  const errors = {
    isRetryable: (error: unknown) => error === busy,
    explain: (error: unknown) => `because of ${(error as Error).message}`,
  };
  const answer = (recorded: RecordingResult, error?: unknown, transactional = false) =>
    answerInstead(
      recorded,
      error,
      {
        endpoint: 'POST /x',
        documentation: undefined,
        errors,
        options: { policy: { transactional } },
      } as unknown as RunSettings,
      'r-1',
    );

  it('of an outcome on record: nothing, and what failed after COMMIT is logged', () => {
    expect([answer({ kind: 'stored' }), lines]).toEqual([undefined, []]);
    expect(answer({ kind: 'stored', despite: new Error('a listener') })).toBeUndefined();
    expect(lines).toEqual([
      ['error', 'POST /x: committed, and recorded, though something failed after it: because of a listener'],
    ]);
  });

  it.each([
    [true, busy, 'store-unavailable'],
    [true, new Error('no money'), undefined],
    [false, busy, undefined],
  ])('of a key that was freed (transactional: %p): %p', (transactional, error, code) => {
    expect((answer({ kind: 'freed' }, error, transactional) as { code?: string } | undefined)?.code).toBe(code);
  });

  it('of a record that another execution has: what that made of it', () => {
    expect(answer({ kind: 'lost', recordState: undefined })).toBeInstanceOf(IdempotencyInProgressException);
    expect(lines).toEqual([['warn', expect.stringMatching(/^POST \/x: .+ Record r-1$/)]]);
    const outcome = { code: 201, head: null, body: null };
    expect(answer({ kind: 'lost', recordState: { status: 'done', outcome } as never })).toBe(outcome);
    expect(lines).toHaveLength(1);
  });

  it('of a record that is held: the error that ended its transaction, or that its outcome is unknown', () => {
    const ended = new TransactionEndedError();
    expect(answer({ kind: 'held', error: ended })).toBe(ended);
    expect(answer({ kind: 'held' }, new Error('of the handler'))).toBeInstanceOf(IdempotencyOutcomeUnknownException);
    expect(lines).toEqual([
      ['error', `POST /x: the record is held. ${ended.message}`],
      ['warn', expect.stringMatching(/^POST \/x: .+ Record r-1: because of /)],
    ]);
  });

  it('of a transaction that was rolled back: the error of the application, or that a retry may succeed', () => {
    const refused = new Error('a constraint');
    expect(answer({ kind: 'rolledBack', error: refused })).toBe(refused);
    expect(answer({ kind: 'rolledBack', error: refused, isTaken: true })).toBe(refused);
    const retryable = answer({ kind: 'rolledBack', error: busy });
    expect(retryable).toBeInstanceOf(HttpException);
    expect(lines).toEqual([
      ['error', 'POST /x: the transaction was rolled back, and the key is free: because of a constraint'],
      ['error', 'POST /x: the transaction was rolled back: because of a constraint'],
      ['warn', `POST /x: ${(retryable as Error).message} Record r-1: because of deadlock`],
    ]);
  });
});
