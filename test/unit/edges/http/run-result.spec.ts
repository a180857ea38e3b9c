import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import {
  isBusy,
  isClientAbort,
  isHandlerRunning,
  isNative,
  isResponseUnlikely,
  isTruncated,
  resultOf,
  resultWithoutResponse,
  type RunState,
  sendingOf,
  webStatusOf,
  writerOf,
} from '../../../../lib/edges/http/run-result.js';
import { STORE_WITHOUT_RESPONSE } from '../../../../lib/edges/shared/run-end.js';
import { unpackHead } from '../../../../lib/edges/content/response-head.js';
import { HandlerCalls } from '../../../../lib/engine/handler-calls.js';
import type { HandlerResult } from '../../../../lib/engine/recorder.js';
import { FAILED_TOMBSTONE, TOMBSTONE } from '../../../../lib/engine/outcome.js';
import { OUTCOME_PRESETS } from '../../../../lib/options/outcome-presets.js';
import { REJECTED_BY_PIPES } from '../../../../lib/private-names/nest.js';

const RELEASE: HandlerResult = { kind: 'release' };
const FAILURE = new Error('declined');
const BODY = Buffer.from('{}');

interface Facts {
  /** How the handler's call ended, if it began: with a value, an error, or not at all. */
  readonly call?: 'running' | 'failed' | { readonly value: unknown };
  readonly isBody?: boolean;
  readonly isUndone?: boolean;
  readonly native?: boolean;
  readonly transactional?: boolean;
  readonly watched?: boolean;
  readonly outcome?: unknown;
  readonly computedHeaders?: readonly string[];
  readonly writer?: RunState['writer'];
  readonly pass?: Partial<RunState['pass']>;
  readonly closed?: boolean;
  readonly execution?: object;
  readonly openPasses?: number;
  readonly rejectedByPipes?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly headersBefore?: Readonly<Record<string, string>>;
}

/** A run of a handler that has returned, by which nothing unusual has happened. */
function runWith(facts: Facts = {}): RunState {
  const calls = new HandlerCalls();
  const { call = { value: { id: 1 } } } = facts;
  const begun = facts.isBody ? calls.beginBody() : calls.begin();
  if (call === 'failed') calls.settle(begun, 'failed', FAILURE);
  else if (call !== 'running') calls.settle(begun, 'succeeded', call.value);
  if (facts.isUndone) calls.noteRollback();
  return stateOf(calls, facts);
}

function stateOf(calls: HandlerCalls, facts: Facts): RunState {
  const rawResponse = new ServerResponse(new IncomingMessage(new Socket()));
  for (const [name, value] of Object.entries(facts.headers ?? {})) rawResponse.setHeader(name, value);
  Object.defineProperty(rawResponse, 'closed', { value: facts.closed ?? false });
  return {
    leased: { operation: { recordId: 'the-record' } },
    operation: {
      endpoint: 'POST /payments',
      native: facts.native ?? false,
      watched: facts.watched ?? true,
      computedHeaders: facts.computedHeaders ?? [],
      options: {
        outcome: facts.outcome ?? OUTCOME_PRESETS.final,
        policy: { transactional: facts.transactional ?? false },
        response: { store: true, redact: [], include: undefined, exclude: new Set() },
      },
    },
    exchange: { rawResponse, request: { [REJECTED_BY_PIPES]: facts.rejectedByPipes } },
    current: { calls, execution: facts.execution ?? { setRetention: () => undefined } },
    pass: { phase: 'ended', status: 201, isGivenUp: false, isStream: false, isTruncated: false, ...facts.pass },
    openPasses: facts.openPasses ?? 0,
    writer: facts.writer ?? 'outside',
    headersBefore: facts.headersBefore ?? {},
  } as unknown as RunState;
}

function thrown() {
  return { error: FAILURE, isClientAbort: false };
}

/** A native handler whose sending failed, because its client had gone. */
function leftByClient(call: Facts['call']): Facts {
  return { call, native: true, pass: { thrown: { error: FAILURE, isClientAbort: true } } };
}

const notBegun = (facts: Facts = {}) => stateOf(new HandlerCalls(), facts);

let lines: string[];
beforeEach(() => {
  lines = [];
  jest.spyOn(Logger.prototype, 'error').mockImplementation((line: unknown) => void lines.push(String(line)));
});
afterEach(() => void jest.restoreAllMocks());

describe('whose the response is', () => {
  it.each<[what: string, facts: Facts, status: number, isOfOperation: boolean]>([
    ['the framework, after the handler', {}, 201, true],
    ['the framework, for the error of the handler', { call: 'failed' }, 500, true],
    ['code outside, while the handler runs', { call: 'running' }, 503, false],
    ['code outside, while the handler runs, as a success', { call: 'running' }, 200, false],
    ['code outside, while an interceptor goes on', { pass: { phase: 'emitted' } }, 503, false],
    ['code outside, after an interceptor has given up', { pass: { isGivenUp: true } }, 503, false],
    ['a generator, by its first chunk', { call: 'running', isBody: true }, 200, true],
    ['code outside, while a generator runs', { call: 'running', isBody: true }, 400, false],
    ['a handler that has the response', { call: 'running', writer: 'handler' }, 503, true],
    ['an interceptor, after the handler', { writer: 'interceptor' }, 503, true],
    ['an interceptor, while the handler runs', { call: 'running', writer: 'interceptor' }, 200, false],
    ['an interceptor, after the handler failed', { call: 'failed', writer: 'interceptor' }, 500, false],
    ['a callback of a native handler', { native: true }, 399, true],
    ['code outside, behind a native handler', { native: true }, 400, false],
    ['code outside, for the error of a pass', { native: true, pass: { thrown: thrown() } }, 400, true],
    ['code outside, for the error of a native handler', { native: true, call: 'failed' }, 400, true],
    ['a native handler that an interceptor gave up on', { native: true, pass: { isGivenUp: true } }, 200, true],
  ])('%s', (_what, facts, status, expected) => {
    expect(sendingOf(runWith(facts), { status, body: BODY }) !== 'foreign').toBe(expected);
  });

  it('a handler writes it by @Res(), with or without `passthrough`', () => {
    expect(isNative(runWith({ native: true }))).toBe(true);
    expect(isNative(runWith({ writer: 'handler' }))).toBe(true);
    expect(isNative(runWith({ writer: 'interceptor' }))).toBe(false);
    expect(isNative(runWith())).toBe(false);
  });
});

describe('who writes a response', () => {
  const execution = { setRetention: () => undefined };
  const writing = (facts: Facts, from: object | undefined, openPasses: number) =>
    writerOf(runWith({ ...facts, execution, openPasses }), from as never);

  it.each<[what: string, facts: Facts, from: object | undefined, openPasses: number, writer: RunState['writer']]>([
    ['code without an execution', {}, undefined, 1, 'outside'],
    ['code of another execution', {}, { execution: {}, isCall: true }, 1, 'outside'],
    ['a native handler', { native: true }, { execution }, 0, 'handler'],
    ['a handler that runs', { call: 'running' }, { execution, isCall: true }, 1, 'handler'],
    ['a handler that has returned, by a callback', {}, { execution, isCall: true }, 0, 'outside'],
    ['an interceptor beside a handler that runs', { call: 'running' }, { execution }, 1, 'interceptor'],
    ['an interceptor after the handler', {}, { execution }, 1, 'interceptor'],
    ['the framework, after all passes', {}, { execution }, 0, 'outside'],
  ])('%s', (_what, facts, from, openPasses, writer) => expect(writing(facts, from, openPasses)).toBe(writer));
});

describe('how a response is sent', () => {
  const source = Readable.from([]);
  const transactional = true;
  const unstorable = { status: 200, body: undefined };

  it.each<[what: string, run: RunState, captured: Parameters<typeof sendingOf>[1], sending: string]>([
    ['whole', runWith(), { status: 201, body: BODY }, 'recorded'],
    ['a refusal before the handler', notBegun(), { status: 400, body: BODY }, 'unclaimed'],
    ['a success before the handler', notBegun(), { status: 399, body: BODY }, 'recorded'],
    ['an error before the handler', notBegun({ pass: { thrown: thrown() } }), { status: 200, body: BODY }, 'unclaimed'],
    [
      'a refusal by pipes, of an unwatched handler',
      runWith({ watched: false, rejectedByPipes: true }),
      { status: 400, body: BODY },
      'unclaimed',
    ],
    ['a refusal of an unwatched handler', runWith({ watched: false }), { status: 400, body: BODY }, 'recorded'],
    [
      'a refusal of a watched handler whose pipes rejected',
      runWith({ rejectedByPipes: true }),
      { status: 400, body: BODY },
      'recorded',
    ],
    ['a foreign one', runWith({ call: 'running' }), { status: 503, body: BODY }, 'foreign'],
    ['a stream', runWith(), { ...unstorable, isStreamed: true }, 'streamed'],
    ['what is too large', runWith(), unstorable, 'recorded'],
    [
      'what is too large, of an interceptor that goes on',
      runWith({ writer: 'interceptor', pass: { phase: 'emitted' } }),
      unstorable,
      'unstorable',
    ],
    ['what is too large, of a native handler', runWith({ native: true }), unstorable, 'unstorable'],
    ['what is too large, of a handler that writes', runWith({ writer: 'handler' }), unstorable, 'unstorable'],
    ['what is too large, after a transaction', runWith({ transactional }), unstorable, 'recorded'],
    ['what is too large, of a stream', runWith({ pass: { source } }), unstorable, 'recorded'],
    ['that in a transaction', runWith({ transactional, pass: { source } }), unstorable, 'streamed'],
    [
      'that of an interceptor that goes on, in one',
      runWith({ transactional, writer: 'interceptor', pass: { phase: 'emitted' } }),
      unstorable,
      'streamed',
    ],
    ['that of a native handler, in one', runWith({ transactional, native: true }), unstorable, 'streamed'],
    ['that of a handler that writes, in one', runWith({ transactional, writer: 'handler' }), unstorable, 'streamed'],
    ['what can be stored, in one', runWith({ transactional, native: true }), { status: 200, body: BODY }, 'recorded'],
  ])('%s', (_what, run, captured, sending) => expect(sendingOf(run, captured)).toBe(sending));
});

describe('a client that has gone', () => {
  const abort = Object.assign(new Error('Premature close'), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  const gone: Facts = { native: true, closed: true };

  it.each<[what: string, facts: Facts, error: unknown, hasResponse: boolean, isAbort: boolean]>([
    ['while a native handler sent', gone, abort, true, true],
    ['before it sent', gone, abort, false, false],
    ['in a transaction', { ...gone, transactional: true }, abort, true, false],
    ['of a handler that returns its value', { closed: true }, abort, true, false],
    ['not yet', { native: true }, abort, true, false],
    ['beside another error', gone, FAILURE, true, false],
    ['beside null', gone, null, true, false],
    ['beside nothing', gone, undefined, true, false],
  ])('%s', (_what, facts, error, hasResponse, isAbort) => {
    expect(isClientAbort(runWith(facts), error, hasResponse)).toBe(isAbort);
  });

  it.each<[what: string, run: RunState, hasResponse: boolean, isUnlikely: boolean]>([
    ['a handler that runs', runWith({ call: 'running' }), false, false],
    ['a handler that has returned', runWith(), false, false],
    ['a response that has begun', runWith(), true, true],
    ['a pass that was given up', runWith({ pass: { isGivenUp: true } }), false, true],
    ['a stream', runWith({ pass: { isStream: true } }), false, true],
    ['a generator', runWith({ isBody: true }), false, true],
    ['no call', notBegun(), false, true],
  ])('gets no response: %s', (_what, run, hasResponse, isUnlikely) => {
    expect(isResponseUnlikely(run, hasResponse)).toBe(isUnlikely);
  });
});

describe('how far the handler is', () => {
  it('busy until its call has settled and its pass has ended', () => {
    expect(isBusy(runWith())).toBe(false);
    expect(isBusy(runWith({ call: 'running' }))).toBe(true);
    expect(isBusy(runWith({ pass: { phase: 'emitted' } }))).toBe(true);
    expect(isBusy(runWith({ pass: { phase: 'running' } }))).toBe(true);
  });

  it('known to run while its call does, unless a pass stands for it', () => {
    expect(isHandlerRunning(runWith({ call: 'running' }))).toBe(true);
    expect(isHandlerRunning(runWith({ call: 'running', watched: false }))).toBe(false);
    expect(isHandlerRunning(runWith())).toBe(false);
  });

  it('its stream broke off in a transaction; a generator is its call', () => {
    const pass = { isTruncated: true };
    expect(isTruncated(runWith({ transactional: true, pass }))).toBe(true);
    expect(isTruncated(runWith({ transactional: true }))).toBe(false);
    expect(isTruncated(runWith({ pass }))).toBe(false);
    expect(isTruncated(runWith({ isBody: true, call: 'failed' }))).toBe(true);
    expect(isTruncated(runWith({ isBody: true, transactional: true, pass }))).toBe(false);
  });

  it('the status of the web Response that it has returned', () => {
    expect(webStatusOf(runWith({ call: { value: new Response('', { status: 402 }) } }))).toBe(402);
    expect(webStatusOf(runWith({ call: { value: { status: 402 } } }))).toBe(undefined);
    expect(webStatusOf(runWith({ call: 'failed' }))).toBe(undefined);
  });
});

describe('the result without a response', () => {
  it.each<[what: string, run: RunState, isKnown: boolean, status: number | undefined, result: HandlerResult]>([
    ['no call', notBegun(), true, undefined, { kind: 'discard' }],
    ['no call, and no end seen', notBegun(), false, undefined, { kind: 'discard' }],
    ['no end seen', runWith(), false, undefined, { kind: 'unknown' }],
    ['success', runWith(), true, undefined, STORE_WITHOUT_RESPONSE],
    ['success, by the status that was not sent', runWith({ native: true }), true, 399, STORE_WITHOUT_RESPONSE],
    ['failure, by the status that was not sent', runWith({ native: true }), true, 400, RELEASE],
    ['failure', runWith({ call: 'failed' }), true, undefined, RELEASE],
    ['a call that has not settled', runWith({ call: 'running' }), true, undefined, RELEASE],
    [
      'failure, though only of the connection',
      runWith(leftByClient('failed')),
      true,
      undefined,
      STORE_WITHOUT_RESPONSE,
    ],
    ['success that was rolled back', runWith({ isUndone: true }), true, undefined, RELEASE],
    [
      'success that was rolled back, and answered all the same',
      runWith({ isUndone: true }),
      true,
      200,
      STORE_WITHOUT_RESPONSE,
    ],
  ])('%s', (_what, run, isKnown, status, expected) => {
    expect(resultWithoutResponse(run, isKnown, status)).toEqual(expected);
  });
});

describe('the result with a response', () => {
  const body = Buffer.from('{"id":1}');

  it('keeps head and body of a success', () => {
    const run = runWith({
      headers: { Location: '/payments/1', 'X-Powered-By': 'Nest' },
      headersBefore: { 'x-powered-by': 'Nest' },
    });
    const result = resultOf(run, { status: 201, body }) as Extract<HandlerResult, { kind: 'store' }>;
    expect(result).toMatchObject({ kind: 'store', failed: false, tombstone: TOMBSTONE, outcome: { code: 201, body } });
    expect(unpackHead(result.outcome.head)).toEqual({ headers: [['Location', '/payments/1']] });
    expect(lines).toEqual([]);
  });

  it("keeps the values of the handler's own @Header(), though they were there before it", () => {
    const headers = { 'x-price': '5', 'x-other': '6' };
    const run = runWith({ headers, headersBefore: headers, computedHeaders: ['x-price'] });
    const { outcome } = resultOf(run, { status: 201, body }) as Extract<HandlerResult, { kind: 'store' }>;
    expect(unpackHead(outcome.head)).toEqual({ headers: [['x-price', '5']] });
    expect(run.headersBefore).toEqual(headers);
  });

  it('notes that what cannot be kept was carried out, or failed', () => {
    const stored = (failed: boolean, outcome: typeof TOMBSTONE) => ({
      kind: 'store',
      failed,
      outcome,
      tombstone: outcome,
    });
    expect(resultOf(runWith(), { status: 201, body: undefined })).toEqual(stored(false, TOMBSTONE));
    expect(resultOf(runWith({ call: 'failed' }), { status: 402, body: undefined })).toEqual(
      stored(true, FAILED_TOMBSTONE),
    );
    expect(resultOf(runWith(leftByClient('failed')), { status: 500, body })).toEqual(STORE_WITHOUT_RESPONSE);
  });

  it('is a failure by its status, by what was thrown, or by the handler', () => {
    const failed = (facts: Facts, status: number) =>
      (resultOf(runWith(facts), { status, body }) as Extract<HandlerResult, { kind: 'store' }>).failed;
    expect(failed({}, 399)).toBe(false);
    expect(failed({}, 400)).toBe(true);
    expect(failed({ pass: { thrown: thrown() } }, 200)).toBe(true);
    const isKept = () => 'store';
    expect(failed({ call: 'failed', outcome: isKept }, 200)).toBe(true);
  });

  it('asks the option `outcome` with what was thrown', () => {
    const outcome = jest.fn((_result: unknown) => 'release');
    const error = new Error('of a pipe');
    resultOf(runWith({ outcome, pass: { thrown: { error, isClientAbort: false } } }), { status: 500, body });
    resultOf(runWith({ outcome, call: 'failed' }), { status: 402, body });
    resultOf(runWith({ outcome }), { status: 201, body });
    expect(outcome.mock.calls).toEqual([
      [{ status: 500, error, handlerFailed: false }],
      [{ status: 402, error: FAILURE, handlerFailed: true }],
      [{ status: 201, error: undefined, handlerFailed: false }],
    ]);
  });

  it('is carried out, and logged, where something after the handler failed', () => {
    expect(resultOf(runWith(), { status: 500, body })).toEqual(STORE_WITHOUT_RESPONSE);
    expect(lines).toEqual([expect.stringMatching(/^POST \/payments: answered 500 .* \(the-record\) as carried out/)]);
  });

  it('frees the key where the handler failed for the time being', () => {
    expect(resultOf(runWith({ call: 'failed' }), { status: 503, body })).toEqual(RELEASE);
    expect(lines).toEqual([]);
  });

  it("is the operation's own, where the platform reports that the client has left", () => {
    const closed = true;
    expect(resultOf(runWith({ closed, pass: { status: 500 } }), { status: 500, body })).toEqual(STORE_WITHOUT_RESPONSE);
    const web = { value: new Response('', { status: 402 }) };
    expect(resultOf(runWith({ closed, native: true, call: web }), { status: 500, body })).toEqual(RELEASE);
    expect(resultOf(runWith({ closed, call: 'failed' }), { status: 500, body })).toEqual(RELEASE);
    expect(resultOf(runWith({ closed, call: 'failed', pass: { thrown: thrown() } }), { status: 500, body })).toEqual(
      RELEASE,
    );
  });

  it('notes that it was carried out, where its head cannot be packed', () => {
    const run = runWith();
    run.exchange.rawResponse.getHeader = () => {
      throw new Error('no such header');
    };
    run.exchange.rawResponse.setHeader('x-one', '1');
    expect(resultOf(run, { status: 201, body })).toMatchObject({ kind: 'store', failed: false, outcome: TOMBSTONE });
    expect(lines).toEqual(['POST /payments: the response cannot be kept']);
  });
});

describe('whether the handler failed, or what ran after it', () => {
  const work = { run: () => 1 };

  it.each<[what: string, facts: Facts, status: number, handlerFailed: boolean]>([
    ['it threw', { call: 'failed' }, 200, true],
    ['its stream broke off in a transaction', { transactional: true, pass: { isTruncated: true } }, 200, true],
    ['its writes were rolled back, and the response says so', { isUndone: true }, 400, true],
    ['its writes were rolled back, and the response does not say so', { isUndone: true }, 399, false],
    ['something after it threw', { pass: { thrown: thrown(), status: 500 } }, 500, false],
    ['the interceptor that does its work threw', { call: { value: work }, pass: { thrown: thrown() } }, 500, true],
    ['below 400', { native: true }, 399, false],
    ['an interceptor answers', { writer: 'interceptor', native: true, pass: { status: 400 } }, 400, false],
    ['the interceptor that does its work answers', { writer: 'interceptor', call: { value: work } }, 400, true],
    ['it answers itself', { native: true }, 400, true],
    ['its status is that of the response', { pass: { status: 422 } }, 422, true],
    ['its status is another', { pass: { status: 201 } }, 422, false],
    ['its value has the status', { call: { value: { status: 422 } } }, 422, true],
    ['its value has another status', { call: { value: { status: 200 } } }, 422, false],
    ['it has no value', { call: { value: null } }, 422, false],
  ])('%s', (_what, facts, status, expected) => {
    const outcome = jest.fn((_result: { handlerFailed: boolean }) => 'store');
    resultOf(runWith({ ...facts, outcome }), { status, body: undefined });
    expect(outcome.mock.calls[0][0].handlerFailed).toBe(expected);
  });
});
