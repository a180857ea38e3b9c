import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { withDeadline } from '../../../lib/store/deadline.js';

const LONG = 60_000;

it('answers as the work does', async () => {
  expect(await withDeadline(Promise.resolve('done'), LONG)).toBe('done');
});

it('rejects as an outage what may pass, and as a refusal what may not, with the cause', async () => {
  const refused = new Error('violates a constraint');
  await expect(withDeadline(Promise.reject(refused), LONG)).rejects.toMatchObject({
    name: 'StoreRefusedError',
    cause: refused,
  });
  const cause = Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' });
  const error = await withDeadline(Promise.reject(cause), LONG).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect((error as Error).cause).toBe(cause);
});

it.each(['42P01', '42501', '23505'])('rejects %s as what may pass, or not', async (code) => {
  const refused = withDeadline(Promise.reject(Object.assign(new Error('refused'), { code })), LONG);
  await expect(refused).rejects.toMatchObject({ name: 'StoreRefusedError', mayPass: code !== '23505' });
});

it.each([
  ['answer', ({ answer }: ReturnType<typeof work>) => answer('late')],
  ['error', ({ fail }: ReturnType<typeof work>) => fail(new Error('late'))],
])('waits no longer than it may, and survives a late %s', async (_, end) => {
  const strays: unknown[] = [];
  const note = (error: unknown) => strays.push(error);
  process.on('unhandledRejection', note);
  const slow = work();
  const error = await withDeadline(slow.asked, 20).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect((error as Error).cause).toEqual(new Error('no answer within 20 ms'));
  end(slow);
  await slow.asked.catch(() => undefined);
  await sleep(1);
  process.off('unhandledRejection', note);
  expect(strays).toEqual([]);
});

/** Work that the test ends. */
function work() {
  let answer!: (value: string) => void;
  let fail!: (error: Error) => void;
  const asked = new Promise<string>((resolve, reject) => {
    answer = resolve;
    fail = reject;
  });
  return { asked, answer, fail };
}
