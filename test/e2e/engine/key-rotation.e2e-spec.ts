import { randomBytes } from 'node:crypto';
import type { Operation } from '../../../lib/engine/operation.js';
import { StoreUnavailableError } from '../../../lib/testing/index.js';
import { StoreFixture, BACKENDS } from '../store/support.js';
import { anOperation, duplicate, OUTCOME, Process, RELEASE, STORE } from './support.js';

/** The caller of `operation` by its new binding, and one by another credential. */
function callersOf(operation: Operation) {
  const isFormerBinding = (binding: Buffer) => binding.equals(operation.binding!);
  return {
    own: duplicate(operation, {}, { binding: randomBytes(16), isFormerBinding }),
    foreign: duplicate(operation, {}, { binding: randomBytes(16), isFormerBinding: () => false }),
    anonymous: duplicate(operation, {}, { binding: null, isFormerBinding: undefined }),
  };
}

describe.each(BACKENDS)('a record that is bound under a former key, on $name', (backend) => {
  let fixture: StoreFixture;
  beforeAll(async () => void (fixture = await StoreFixture.open(backend)));
  afterAll(() => fixture?.close());

  const bound = (policy: Parameters<typeof anOperation>[0] = {}) => anOperation(policy, { binding: randomBytes(16) });
  const foreign = { kind: 'refuse', refusal: { reason: 'foreign' } };

  it('is answered when it is done, in one statement', async () => {
    const operation = bound();
    await new Process(fixture).run(operation);
    const there = new Process(fixture);
    const { own, ...others } = callersOf(operation);
    for (const other of Object.values(others)) expect(await there.engine.admit(other)).toEqual(foreign);
    there.asked.length = 0;
    expect(await there.engine.admit(own)).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(there.asked).toEqual(['claim']);
    const fingerprint = randomBytes(32);
    expect(await there.engine.admit({ ...own, fingerprint })).toEqual({
      kind: 'refuse',
      refusal: { reason: 'reused' },
    });
  });

  it('is in progress while another process runs it', async () => {
    const operation = bound();
    const leased = await new Process(fixture).begin(operation);
    const there = new Process(fixture);
    const { own, ...others } = callersOf(operation);
    for (const other of Object.values(others)) expect(await there.engine.admit(other)).toEqual(foreign);
    expect(await there.engine.admit(own)).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
    await leased.runToEnd(async () => STORE);
  });

  it.each(['failed', 'silent'] as const)('is taken over by its caller alone: %s', async (state) => {
    const operation = bound();
    const here = new Process(fixture);
    if (state === 'failed') await here.run(operation, RELEASE);
    else await here.begin(operation);
    if (state === 'silent') await fixture.expireLease(operation.recordId);
    const there = new Process(fixture);
    const { own, ...others } = callersOf(operation);
    for (const other of Object.values(others)) expect(await there.engine.admit(other)).toEqual(foreign);
    const fingerprint = randomBytes(32);
    expect(await there.engine.admit({ ...own, fingerprint })).toEqual({
      kind: 'refuse',
      refusal: { reason: 'reused' },
    });
    const leased = await there.begin(own);
    expect(leased.execution).toMatchObject({ attempt: 2, token: 2 });
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
    expect(await new Process(fixture).admit(own)).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(await new Process(fixture).engine.admit(operation)).toEqual({ kind: 'replay', outcome: OUTCOME });
  });

  it('is held for its caller, where its owner fell silent under hold', async () => {
    const operation = bound({ afterCrash: 'hold' });
    await new Process(fixture).begin(operation);
    await fixture.expireLease(operation.recordId);
    const there = new Process(fixture);
    const { own, ...others } = callersOf(operation);
    for (const other of Object.values(others)) expect(await there.engine.admit(other)).toEqual(foreign);
    expect(await there.engine.admit(own)).toEqual({ kind: 'refuse', refusal: { reason: 'held', exhausted: false } });
  });

  it('is taken over once by many', async () => {
    const operation = bound();
    await new Process(fixture).run(operation, RELEASE);
    const { own } = callersOf(operation);
    const answers = await Promise.all(Array.from({ length: 8 }, () => new Process(fixture).admit(own)));
    expect(answers.filter(({ kind }) => kind === 'run')).toHaveLength(1);
    expect(answers.filter((answer) => answer.kind === 'refuse' && answer.refusal.reason === 'running')).toHaveLength(7);
  });

  it('a claim whose answer was lost is recognised', async () => {
    const operation = bound();
    await new Process(fixture).run(operation, RELEASE);
    const there = new Process(fixture);
    let claims = 0;
    there.reach = ({ point }) => {
      // The first finds the former binding, the second wins, and its answer is lost.
      if (point === 'after claim' && ++claims === 2) throw new StoreUnavailableError();
    };
    const leased = await there.begin(callersOf(operation).own);
    expect(leased.execution.token).toBe(2);
  });
});
