import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { withDeadline } from '../../../lib/store/deadline.js';

const LONG = 60_000;

it('answers as the work does', async () => {
  const late: unknown[] = [];
  expect(await withDeadline(Promise.resolve('done'), LONG, (answer) => late.push(answer))).toBe('done');
  expect(late).toEqual([]);
});

it('tells of whatever goes wrong as of a store that is unavailable, with the cause', async () => {
  const cause = new Error('connection refused');
  const error = await withDeadline(Promise.reject(cause), LONG).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect((error as Error).cause).toBe(cause);
});

it('waits no longer than it may, and hands on what comes late', async () => {
  let answer!: (value: string) => void;
  const work = new Promise<string>((resolve) => (answer = resolve));
  const late: unknown[] = [];
  const error = await withDeadline(work, 20, (value) => late.push(value)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect((error as Error).cause).toEqual(new Error('no answer within 20 ms'));
  expect(late).toEqual([]);
  answer('late');
  await sleep(1);
  expect(late).toEqual(['late']);
});

it('has nobody to hand it to, or nothing to hand on', async () => {
  const strays: unknown[] = [];
  const note = (error: unknown) => strays.push(error);
  process.on('unhandledRejection', note);
  const late: unknown[] = [];
  const slow = sleep(30, 'late');
  const failing = sleep(30).then(() => Promise.reject(new Error('late')));
  await expect(withDeadline(slow, 10)).rejects.toThrow(StoreUnavailableError);
  await expect(withDeadline(failing, 10, (value) => late.push(value))).rejects.toThrow(StoreUnavailableError);
  await sleep(40);
  process.off('unhandledRejection', note);
  expect(late).toEqual([]);
  expect(strays).toEqual([]);
});
