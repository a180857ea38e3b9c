import { createHash, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { FencedAnswer, Ownership, RecordState } from '../../../lib/engine/ports/record-store.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { BACKENDS, StoreFixture, HOUR } from './support.js';
import { MAX_ATTEMPTS, Model, type ModelClaim, type ModelHold, type ModelRecord } from './model.js';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 40);
const KEYS = 2;
const ACTORS = 3;

/** What the model and the store share: who the actors believe to be. */
interface Both {
  readonly fixture: StoreFixture;
  readonly store: SqlRecordStore;
  readonly ids: readonly string[];
  /** What each actor remembers of each key: perhaps a record that is no longer its own. */
  readonly holds: Map<string, ModelHold & ModelClaim>;
}

type Run = (model: Model, both: Both) => Promise<void>;

class Step implements fc.AsyncCommand<Model, Both> {
  constructor(
    private readonly text: string,
    private readonly work: Run,
    private readonly needs: (model: Model) => boolean = () => true,
  ) {}

  check(model: Readonly<Model>): boolean {
    return this.needs(model as Model);
  }

  async run(model: Model, both: Both): Promise<void> {
    await this.work(model, both);
    for (const id of both.ids) await expectSame(model, both, id);
  }

  toString(): string {
    return this.text;
  }
}

const key = fc.nat(KEYS - 1);
const actor = fc.nat(ACTORS - 1);
const nameOf = (k: number) => `key ${k}`;
const bytes = (text: string) => createHash('sha256').update(text).digest();
const callerOf = (caller: number | null) => (caller === null ? null : bytes(`caller ${caller}`).subarray(0, 16));
const completion = (code: number) => ({
  outcome: { code, head: bytes(`head ${code}`), body: bytes(`body ${code}`) },
  retentionMs: 24 * HOUR,
});

/** A write by an actor, of what it believes to hold; of nothing, where it believes nothing. */
function fenced(
  what: string,
  ofModel: (model: Model, id: string, hold: ModelHold) => Partial<FencedAnswer>,
  ofStore: (store: SqlRecordStore, owner: Ownership) => Promise<FencedAnswer>,
) {
  return fc.tuple(actor, key).map(
    ([a, k]) =>
      new Step(`actor ${a} ${what} ${nameOf(k)}`, async (model, { store, ids, holds }) => {
        const hold = holds.get(`${a} ${k}`);
        if (!hold) return;
        const expected = ofModel(model, ids[k], hold);
        const answer = await ofStore(store, { recordId: ids[k], owner: hold.owner, token: hold.token });
        expect(answer.held).toBe(expected.held);
        // Some do not know whether a request waits, and say that one does, to be safe.
        if (expected.awaited) expect(answer.awaited).toBe(true);
      }),
  );
}

const commands = () => [
  fc
    .record({
      a: actor,
      k: key,
      request: fc.constantFrom(1, 1, 1, 2),
      caller: fc.constantFrom(null, null, null, 1),
      hold: fc.constantFrom(false, false, true),
      isRepeated: fc.constantFrom(false, false, true),
    })
    .map(({ a, k, request, caller, hold, isRepeated }) => {
      const terms = JSON.stringify({ request, caller, hold, isRepeated });
      return new Step(`actor ${a} claims ${nameOf(k)} ${terms}`, async (model, { store, ids, holds }) => {
        const remembered = holds.get(`${a} ${k}`);
        const claim = (isRepeated && remembered) || { owner: randomUUID(), request, caller, hold };
        const { owner } = claim;
        const expected = model.claim(ids[k], claim);
        const recordState = await store.claim({
          recordId: ids[k],
          owner,
          endpoint: 'POST /',
          route: null,
          scopeDigest: null,
          fingerprint: bytes(`request ${claim.request}`),
          binding: callerOf(claim.caller),
          request: null,
          leaseMs: HOUR,
          retentionMs: 24 * HOUR,
          maxAttempts: MAX_ATTEMPTS,
          holdOnCrash: claim.hold,
          asyncCommit: false,
        });
        expectStanding(recordState, expected);
        if (recordState.owner === owner && recordState.status === 'processing') {
          holds.set(`${a} ${k}`, { ...claim, token: recordState.token });
        }
      });
    }),
  fenced(
    'completes',
    (model, id, hold) => model.complete(id, hold, 200 + hold.token),
    (store, owner) => store.complete(owner, completion(200 + owner.token)),
  ),
  fenced(
    'completes in a transaction',
    (model, id, hold) => model.complete(id, hold, 300 + hold.token),
    (store, owner) => store.transaction((transaction) => transaction.complete(owner, completion(300 + owner.token))),
  ),
  fenced(
    'completes and rolls back',
    (model, id, hold) => ({ held: model.get(id)?.status === 'processing' && isHeldBy(model.get(id), hold) }),
    async (store, owner) => {
      let answer: FencedAnswer | undefined;
      const work = store.transaction(async (transaction) => {
        answer = await transaction.complete(owner, completion(400));
        throw new Error('rolled back');
      });
      await expect(work).rejects.toThrow('rolled back');
      return answer!;
    },
  ),
  fenced(
    'releases',
    (model, id, hold) => model.release(id, hold),
    (store, owner) => store.release(owner, 86_400_000),
  ),
  fenced(
    'discards',
    (model, id, hold) => model.discard(id, hold),
    (store, owner) => store.discard(owner),
  ),
  fenced(
    'holds',
    (model, id, hold) => model.hold(id, hold),
    (store, owner) => store.hold(owner),
  ),
  fenced(
    'renews',
    (model, id, hold) => model.renew(id, hold),
    (store, owner) => store.renew(owner, HOUR),
  ),
  fenced(
    'begins a step of',
    (model, id, hold) => ({ held: model.step(id, hold, 'charge', 'begun').held }),
    (store, owner) => store.steps.begin(owner, 'charge'),
  ),
  fenced(
    'ends a step of',
    (model, id, hold) => ({ held: model.step(id, hold, 'charge', 'done').held }),
    (store, owner) => store.steps.end(owner, 'charge', { status: 'done', result: '1' }),
  ),
  fc.tuple(actor, key).map(
    ([a, k]) =>
      new Step(`actor ${a} crashes on ${nameOf(k)}`, async (_, { holds }) => {
        holds.delete(`${a} ${k}`);
      }),
  ),
  key.map(
    (k) =>
      new Step(`the lease of ${nameOf(k)} runs out`, async (model, { fixture, ids }) => {
        model.expireLease(ids[k]);
        await fixture.age(ids[k], 'lease_until', 2 * HOUR);
      }),
  ),
  key.map(
    (k) =>
      new Step(`${nameOf(k)} expires`, async (model, { fixture, ids }) => {
        model.expireRecord(ids[k]);
        await fixture.age(ids[k], 'expires_at', 48 * HOUR);
      }),
  ),
  key.map(
    (k) =>
      new Step(`a request waits for ${nameOf(k)}`, async (model, { store, ids }) => {
        model.await(ids[k]);
        expectStanding(await store.markAwaited(ids[k]), model.read(ids[k]));
      }),
  ),
  fc.tuple(key, fc.constantFrom(null, 299)).map(
    ([k, code]) =>
      new Step(`an operator resolves ${nameOf(k)} with ${code}`, async (model, { store, ids }) => {
        const expected = model.resolve(ids[k], code);
        expect(await store.resolveHeld(ids[k], code === null ? null : completion(code).outcome)).toBe(expected);
      }),
  ),
  key.map(
    (k) =>
      new Step(`an operator forgets ${nameOf(k)}`, async (model, { store, ids }) => {
        expect(await store.forget(ids[k])).toBe(model.forget(ids[k]));
      }),
  ),
  fc.constant(
    new Step('sweep', async (model, { store }) => {
      expect(await store.sweep(100)).toBe(model.sweep());
    }),
  ),
];

function isHeldBy(record: ModelRecord | undefined, hold: ModelHold): boolean {
  return record?.owner === hold.owner && record.token === hold.token;
}

function expectStanding(recordState: RecordState | undefined, expected: ModelRecord | undefined): void {
  if (!expected || !recordState) return expect(recordState).toBe(expected);
  const { owner, status, token, attempt, takenFrom, request, caller, code } = expected;
  expect(recordState).toMatchObject({ owner, status, token, attempt, takenFrom });
  expect(recordState.fingerprint).toEqual(bytes(`request ${request}`));
  expect(recordState.binding).toEqual(callerOf(caller));
  expect(recordState.outcome).toEqual(code === null ? null : completion(code).outcome);
  if (status === 'processing') expect(recordState.leaseLeftMs <= 0).toBe(expected.lapsed);
}

async function expectSame(model: Model, { fixture, store }: Both, id: string): Promise<void> {
  expectStanding(await store.read(id), model.read(id));
  const expected = model.get(id);
  const record = await fixture.record(id);
  expect(record === null).toBe(expected === undefined);
  if (record && expected) {
    const { status, awaited, hold } = expected;
    expect(record).toMatchObject({ status, awaited, holdOnCrash: hold });
  }
  const steps = await store.steps.load(id);
  expect(steps.map(({ name, status }) => ({ name, status }))).toEqual(model.steps(id));
}

describe.each(BACKENDS)('The store on $name', (backend) => {
  let fixture: StoreFixture;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  it(
    'does as the model says, whatever actors do',
    async () => {
      const store = fixture.store();
      const property = fc.asyncProperty(fc.commands(commands(), { maxCommands: 60, size: '+1' }), async (steps) => {
        await fixture.dataSource.query('DELETE FROM idempotency_record');
        await fixture.dataSource.query('DELETE FROM idempotency_step');
        const both = { fixture, store, ids: Array.from({ length: KEYS }, () => randomUUID()), holds: new Map() };
        await fc.asyncModelRun(() => ({ model: new Model(), real: both }), steps);
      });
      await fc.assert(property, { numRuns: RUNS });
    },
    20_000 + RUNS * 2_000,
  );
});
