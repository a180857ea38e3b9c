import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { withDeadline } from '../../../lib/store/deadline.js';

const LONG = 60_000;

it('answers as the work does', async () => {
  const late: unknown[] = [];
  expect(await withDeadline(Promise.resolve('done'), LONG, (answer) => late.push(answer))).toBe('done');
  expect(late).toEqual([]);
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

/** Work that ends when it is told to. */
function work() {
  let answer!: (value: string) => void;
  let fail!: (error: Error) => void;
  const asked = new Promise<string>((resolve, reject) => {
    answer = resolve;
    fail = reject;
  });
  return { asked, answer, fail };
}

it.each([
  ['answer that cannot be handed on', ({ answer }: ReturnType<typeof work>) => answer('late'), 1],
  ['error', ({ fail }: ReturnType<typeof work>) => fail(new Error('late')), 0],
])('survives a late %s', async (_, end, handedOn) => {
  const strays: unknown[] = [];
  const note = (error: unknown) => strays.push(error);
  process.on('unhandledRejection', note);
  let late = 0;
  const slow = work();
  const onLate = () => {
    late++;
    throw new Error('unreadable');
  };
  await expect(withDeadline(slow.asked, 1, onLate)).rejects.toThrow(StoreUnavailableError);
  end(slow);
  await sleep(1);
  process.off('unhandledRejection', note);
  expect([late, strays]).toEqual([handedOn, []]);
});

it('needs nobody who takes a late answer', async () => {
  const slow = work();
  await expect(withDeadline(slow.asked, 1)).rejects.toThrow(StoreUnavailableError);
  slow.answer('late');
  expect(await slow.asked).toBe('late');
});
