import { setImmediate as turn } from 'node:timers/promises';
import { until } from '../../support/until.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, duplicate, openStoreFixture, OUTCOME, Process, STORE, TestWakeUp, WAIT } from './support.js';

/**
 * A store that batches claims hides what each waiter asks by itself: twenty claims are one statement. So this counts what the
 * engine asks of its store, while the answer is kept back.
 */
describe('those that wait in one process for another', () => {
  const WAITERS = 20;
  let fixture: StoreFixture;
  beforeAll(async () => void (fixture = await openStoreFixture()));
  afterAll(() => fixture?.close());

  it('one of them asks for all when they are woken', async () => {
    const wakeUp = new TestWakeUp();
    const [there, here] = [new Process(fixture, { wakeUp }), new Process(fixture, { wakeUp })];
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = Array.from({ length: WAITERS }, () => here.admit(duplicate(operation)));
    await until(() => here.count('read') === 1);

    let asking = 0;
    let answer!: () => void;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    here.reach = ({ point }) => {
      if (point !== 'before claim') return undefined;
      asking++;
      return answered;
    };
    await wakeUp.announce(operation.recordId);
    await until(() => asking > 0);
    await turn();
    expect(asking).toBe(1);

    await leased.runToEnd(async () => STORE);
    answer();
    const replay = { kind: 'replay', outcome: OUTCOME };
    expect(await Promise.all(waiting)).toEqual(Array.from({ length: WAITERS }, () => replay));
  });
});
