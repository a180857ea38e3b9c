import type { HandlerResult } from '../../../lib/engine/recorder.js';
import { until } from '../../support/until.js';
import { BACKENDS, StoreFixture } from '../store/support.js';
import { anOperation, duplicate, OUTCOME, Process, sleep, STORE, TestLock, WAIT } from './support.js';

const LEASE = 600;
const UNKNOWN: HandlerResult = { kind: 'unknown' };

describe.each(BACKENDS)('an execution of which nothing is known any more, on $name', (backend) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  it.each([false, true])(
    'keeps its key for the rest of its lease, and no longer. Transactional: %s',
    async (transactional) => {
      const lock = new TestLock();
      const [here, there] = [new Process(fixture, { lock }), new Process(fixture, { lock })];
      const operation = anOperation({ leaseMs: LEASE, transactional });
      const leased = await here.begin(operation);
      // They join it in this process, before it is given up.
      const waiting = [here, there].map((process) => process.admit(duplicate(operation, WAIT)));
      const finish = await leased.runToEnd(async () => UNKNOWN);
      expect(finish).toEqual({ kind: 'lost', recordState: undefined });
      expect([...lock.held]).toEqual([]);
      expect([leased.execution.signal.aborted, here.engine.isRunning]).toEqual([true, false]);
      const refused = await here.engine.admit(duplicate(operation));
      expect(refused).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
      const first = await Promise.race(waiting);
      if (first.kind !== 'run') throw new Error(first.kind);
      expect(first.leased.execution.attempt).toBe(2);
      await first.leased.runToEnd(async () => STORE);
      const answers = await Promise.all(waiting);
      expect(answers.filter((answer) => answer !== first)).toEqual([{ kind: 'replay', outcome: OUTCOME }]);
      await here.engine.drain();
      expect([...lock.held]).toEqual([]);
    },
  );

  it('is renewed by no heartbeat that was under way', async () => {
    const here = new Process(fixture);
    let goOn!: () => void;
    const answered = new Promise<void>((resolve) => (goOn = resolve));
    here.reach = ({ point }) => (point === 'after renew' ? answered : undefined);
    const leased = await here.begin(anOperation({ leaseMs: LEASE }));
    await until(() => here.count('renew') > 0);
    const ended = leased.runToEnd(async () => UNKNOWN);
    goOn();
    await ended;
    const renewals = here.count('renew');
    await sleep(LEASE);
    expect(here.count('renew')).toBe(renewals);
  });

  it('counts against `maxAttempts`, after which the record is held', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ leaseMs: 50, maxAttempts: 2 });
    await here.run(operation, UNKNOWN);
    const second = await here.engine.admit(duplicate(operation, WAIT));
    if (second.kind !== 'run') throw new Error(second.kind);
    await second.leased.runToEnd(async () => UNKNOWN);
    const third = await here.engine.admit(duplicate(operation, WAIT));
    expect(third).toMatchObject({ kind: 'refuse', refusal: { reason: 'held', exhausted: true } });
  });

  it('is held at once under `afterCrash: hold`', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ afterCrash: 'hold' });
    expect(await here.run(operation, UNKNOWN)).toEqual({ kind: 'held' });
    expect(await here.engine.admit(operation)).toMatchObject({ kind: 'refuse', refusal: { reason: 'held' } });
  });

  it('does not hold up the end of its process', async () => {
    const here = new Process(fixture);
    const leased = await here.begin(anOperation());
    const drained = here.engine.drain();
    await leased.runToEnd(async () => UNKNOWN);
    await drained;
  });
});
