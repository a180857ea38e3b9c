import { randomBytes } from 'node:crypto';
import type { StreamedInput } from '../../../lib/engine/ports/streamed-input.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, duplicate, FAILED, openStoreFixture, OUTCOME, Process, STORE, WAIT } from './support.js';

/** An input whose whole fingerprint is this. */
function input(whole: Buffer, isTruncated = false): StreamedInput & { compared: number } {
  return {
    compared: 0,
    isTruncated,
    fingerprint: async () => whole,
    async matches(recorded) {
      this.compared++;
      return recorded.equals(whole);
    },
  };
}

describe('An operation whose input is streamed', () => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await openStoreFixture();
  });
  afterAll(() => fixture?.close());

  const [whole, other] = [randomBytes(32), randomBytes(32)];
  const anUpload = (policy = {}) => anOperation(policy, { input: input(whole) });

  it.each([false, true])('is compared once its outcome is on record; transactional: %s', async (transactional) => {
    const process = new Process(fixture);
    const first = anUpload({ transactional });
    expect(await process.run(first)).toEqual({ kind: 'stored' });
    expect((await fixture.record(first.recordId))!.fingerprint).toEqual(whole);
    expect(await process.engine.admit(duplicate(first))).toEqual({ kind: 'replay', outcome: OUTCOME });
    const different = duplicate(first, {}, { input: input(other) });
    expect(await process.engine.admit(different)).toEqual({ kind: 'refuse', refusal: { reason: 'reused' } });
    // The rest of the request is compared as ever.
    const elsewhere = duplicate(first, {}, { input: input(other), binding: randomBytes(16) });
    expect(await process.engine.admit(elsewhere)).toEqual({ kind: 'refuse', refusal: { reason: 'foreign' } });
    expect((elsewhere.input as ReturnType<typeof input>).compared).toBe(0);
  });

  it('is not compared while it runs, unless the rest differs', async () => {
    const process = new Process(fixture);
    const first = anUpload();
    const leased = await process.begin(first);
    const twin = duplicate(first, {}, { input: input(other) });
    expect(await process.engine.admit(twin)).toMatchObject({ refusal: { reason: 'running' } });
    const stranger = duplicate(first, {}, { input: input(whole), fingerprint: randomBytes(32) });
    expect(await process.engine.admit(stranger)).toMatchObject({ refusal: { reason: 'reused' } });
    const waiting = [input(whole), input(other)].map((of) => process.admit(duplicate(first, WAIT, { input: of })));
    await leased.runToEnd(async () => STORE);
    expect(await Promise.all(waiting)).toEqual([
      { kind: 'replay', outcome: OUTCOME },
      { kind: 'refuse', refusal: { reason: 'reused' } },
    ]);
  });

  it.each([false, true])('frees its key where it broke off and failed; transactional: %s', async (transactional) => {
    const process = new Process(fixture);
    const broken = anOperation({ transactional }, { input: input(whole, true) });
    expect(await process.run(broken, FAILED)).toEqual({ kind: 'freed' });
    // Its input never arrived, and so does not bind.
    const retry = duplicate(broken, {}, { input: input(other) });
    expect(await process.run(retry, FAILED)).toEqual({ kind: 'stored' });
    expect((await fixture.record(broken.recordId))!.fingerprint).toEqual(other);
  });

  it('is done where it broke off and succeeded', async () => {
    const broken = anOperation({}, { input: input(whole, true) });
    expect(await new Process(fixture).run(broken)).toEqual({ kind: 'stored' });
  });

  it('that lost its record answers with the outcome of the same input, and of no other', async () => {
    for (const successor of [whole, other]) {
      const first = anUpload();
      const leased = await new Process(fixture).begin(first);
      await fixture.expireLease(first.recordId);
      await new Process(fixture).run(duplicate(first, {}, { input: input(successor) }));
      const finish = await leased.runToEnd(async () => STORE);
      const recordState = successor === whole ? expect.objectContaining({ outcome: OUTCOME }) : undefined;
      expect(finish).toEqual({ kind: 'lost', recordState });
    }
  });
});
