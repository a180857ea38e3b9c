import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { current, CurrentExecution, runWithin } from '../../../lib/engine/current-execution.js';
import type { Execution } from '../../../lib/engine/execution.js';
import { type CallRunner, HandlerCalls, type HandlerState, TooLateError } from '../../../lib/engine/handler-calls.js';

const NO_PROMISE = '{"then":"later"}';

/** A call that the test ends. */
function pending() {
  let resolve!: (value: string) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<string>((...settle) => ([resolve, reject] = settle));
  return { handler: jest.fn(() => promise), resolve, reject };
}

describe('the calls of a handler', () => {
  const handlers: [string, () => unknown, HandlerState, unknown][] = [
    ['returns', () => 'done', 'succeeded', 'done'],
    ['returns nothing', () => undefined, 'succeeded', undefined],
    ['returns null', () => null, 'succeeded', null],
    [
      'returns what only looks like a promise',
      () => JSON.parse(NO_PROMISE) as unknown,
      'succeeded',
      JSON.parse(NO_PROMISE),
    ],
    ['resolves', () => Promise.resolve('done'), 'succeeded', 'done'],
    ['rejects', () => Promise.reject(new Error('no')), 'failed', undefined],
  ];
  it.each(handlers)('one that %s', async (_, handler, state, value) => {
    const calls = new HandlerCalls();
    expect(calls.state).toBe('not begun');
    const result = calls.run(handler);
    expect(calls.state).toBe(result instanceof Promise ? 'running' : state);
    await Promise.resolve(result).catch(() => undefined);
    await calls.idle();
    expect([calls.state, calls.value, calls.error]).toEqual([
      state,
      value,
      state === 'failed' ? new Error('no') : undefined,
    ]);
  });

  it('one that throws', () => {
    const calls = new HandlerCalls();
    const error = new Error('no');
    const handler = () => {
      throw error;
    };
    expect(() => calls.run(handler)).toThrow(error);
    expect([calls.state, calls.error]).toEqual(['failed', error]);
  });

  it('the one that began last decides, and all of them count', async () => {
    const calls = new HandlerCalls();
    const [first, second] = [pending(), pending()];
    const results = [calls.run(first.handler), calls.run(second.handler)];
    second.resolve('second');
    await results[1];
    expect([calls.state, calls.value, calls.isRunning]).toEqual(['succeeded', 'second', true]);
    const idle = calls.idle()!.then(() => 'idle');
    first.reject(new Error('no'));
    await results[0].catch(() => undefined);
    expect(await idle).toBe('idle');
    expect([calls.state, calls.isRunning]).toEqual(['succeeded', false]);
  });

  it('none begins once they are closed; what has begun goes on', async () => {
    const [late, running] = [new HandlerCalls(), new HandlerCalls()];
    late.close();
    const handler = jest.fn();
    expect(() => late.run(handler)).toThrow(TooLateError);
    expect(() => late.runWork(handler)).toThrow(TooLateError);
    expect([late.state, handler.mock.calls.length]).toEqual(['closed', 0]);
    const one = pending();
    const result = running.run(one.handler);
    running.close();
    expect(running.state).toBe('running');
    expect(() => running.run(handler)).toThrow(TooLateError);
    one.resolve('done');
    expect(await result).toBe('done');
    expect(running.state).toBe('succeeded');
  });

  it('in a transaction, a further one waits for those before it, and for a new transaction', async () => {
    const begun: string[] = [];
    const within: CallRunner = (work) => {
      begun.push('within');
      return work();
    };
    const calls = new HandlerCalls(() => {
      begun.push('again');
      return Promise.resolve(within);
    });
    const first = pending();
    const failed = calls.run(first.handler);
    const second = jest.fn(() => 'second');
    const result = calls.run(second) as unknown as Promise<string>;
    await sleep(1);
    expect([second.mock.calls.length, begun]).toEqual([0, []]);
    first.reject(new Error('no'));
    await failed.catch(() => undefined);
    expect([await result, begun, calls.value]).toEqual(['second', ['again', 'within'], 'second']);
  });

  it('in a transaction that cannot be begun again, a further one fails by that', async () => {
    const lost = new Error('lost');
    const calls = new HandlerCalls(() => Promise.reject(lost));
    calls.run(() => 'first');
    const handler = jest.fn();
    await expect(calls.run(handler)).rejects.toBe(lost);
    expect([handler.mock.calls.length, calls.state, calls.error]).toEqual([0, 'failed', lost]);
  });
});

it('an execution is found by what runs within it, and by nothing else', async () => {
  const execution = CurrentExecution.of({} as Execution);
  expect(await runWithin(execution, async () => (await sleep(1), current()))).toBe(execution);
  expect(current()).toBeUndefined();
});
