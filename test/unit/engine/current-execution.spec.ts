import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import {
  current,
  CurrentExecution,
  type HandlerState,
  runWithin,
  TooLateError,
} from '../../../lib/engine/current-execution.js';
import type { Execution } from '../../../lib/engine/execution.js';

const create = () => new CurrentExecution({} as Execution);

describe('how far a handler has come', () => {
  const handlers: [string, () => unknown, HandlerState][] = [
    ['returns', () => 'done', 'succeeded'],
    ['returns nothing', () => undefined, 'succeeded'],
    ['returns null', () => null, 'succeeded'],
    ['returns what only looks like a promise', () => JSON.parse('{"then":"later"}') as unknown, 'succeeded'],
    ['resolves', () => Promise.resolve('done'), 'succeeded'],
    ['rejects', () => Promise.reject(new Error('no')), 'failed'],
  ];
  it.each(handlers)('a handler that %s', async (_, handler, state) => {
    const execution = create();
    expect(execution.state).toBe('not begun');
    const result = execution.watch(handler) as unknown;
    expect(execution.state).toBe(result instanceof Promise ? 'running' : state);
    await Promise.resolve(result).catch(() => undefined);
    await sleep(1);
    expect(execution.state).toBe(state);
  });

  it('a handler that throws', () => {
    const execution = create();
    const error = new Error('no');
    const handler = () => {
      throw error;
    };
    expect(() => execution.watch(handler)).toThrow(error);
    expect(execution.state).toBe('failed');
  });

  it('what a handler calls is part of it', async () => {
    const execution = create();
    let finish!: () => void;
    const running = execution.watch(async () => {
      expect(execution.watch(() => 'inner')).toBe('inner');
      expect(execution.state).toBe('running');
      await new Promise<void>((resolve) => (finish = resolve));
    });
    expect(execution.state).toBe('running');
    finish();
    await running;
    expect(execution.state).toBe('succeeded');
  });

  it('a handler that has not begun never does, once it is barred; what has begun goes on', async () => {
    const [late, running] = [create(), create()];
    late.bar();
    const handler = jest.fn();
    expect(() => late.watch(handler)).toThrow(TooLateError);
    expect(handler).not.toHaveBeenCalled();
    const result = running.watch(() => sleep(1, 'done'));
    running.bar();
    expect(running.state).toBe('running');
    expect(running.watch(() => 'inner')).toBe('inner');
    expect(await result).toBe('done');
    expect(running.state).toBe('succeeded');
  });

  it('tells those that wait for its end, and nobody waits for what does not run', async () => {
    const execution = create();
    await execution.settled();
    execution.begin();
    const told: number[] = [];
    const waiting = [1, 2].map((one) => execution.settled().then(() => told.push(one)));
    await sleep(1);
    expect(told).toEqual([]);
    execution.settle('failed');
    await Promise.all(waiting);
    expect(told).toEqual([1, 2]);
    await execution.settled();
  });
});

it('is found by what runs within it, and by nothing else', async () => {
  const execution = create();
  expect(await runWithin(execution, async () => (await sleep(1), current()))).toBe(execution);
  expect(current()).toBeUndefined();
});
