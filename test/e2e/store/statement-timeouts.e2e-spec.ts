import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import type { Claim, RecordState } from '../../../lib/engine/ports/record-store.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { TcpProxy } from '../../support/proxy.js';
import { aClaim, again, StoreFixture, COMPLETION, HELD, BACKENDS, OUTCOME, ownership, SECOND } from './support.js';
import { until } from '../../support/until.js';

const TIMEOUT = 300;
/** Leaves time to connect, on a busy machine. */
const CONNECTION_TIMEOUT = 1_000;

/** A connector whose answers take their time: more than twice TIMEOUT, as a deadline is put off while a busy machine stalls. */
function slow(connector: Connector): Connector & { after: number } {
  return {
    dialect: connector.dialect,
    singleConnection: connector.singleConnection,
    after: 0,
    async alone(work) {
      const { after } = this;
      const answer = await connector.alone(work);
      await sleep(after, undefined, { ref: false });
      return answer;
    },
    atomically: (work) => connector.atomically(work),
    rehearse: (steps, reached) => connector.rehearse(steps, reached),
    within: (manager) => connector.within(manager),
    exclusively: (work, what, patienceMs) => connector.exclusively(work, what, patienceMs),
  };
}

describe.each(BACKENDS)('A late answer of $name', (backend) => {
  let fixture: StoreFixture;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  it('to a claim reaches the execution that made it, which can give it back', async () => {
    const connector = slow(connectorFor(fixture.dataSource));
    const store = fixture.store({ connector, timeoutMs: TIMEOUT });
    connector.after = 5 * TIMEOUT;
    const claim = aClaim();
    const late: RecordState[] = [];
    await expect(store.claim(claim, (record) => late.push(record))).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(await fixture.record(claim.recordId)).toMatchObject({ owner: claim.owner });
    connector.after = 0;
    await until(() => late.length > 0);
    expect(late).toMatchObject([{ owner: claim.owner, status: 'processing', token: 1 }]);
    expect(await store.discard(late[0])).toMatchObject({ held: true });
    expect(await store.claim(again(claim))).toMatchObject({ status: 'processing', token: 1 });
  });

  it('to a claim that takes over leaves the key free once it is given back', async () => {
    const connector = slow(connectorFor(fixture.dataSource));
    const store = fixture.store({ connector, timeoutMs: TIMEOUT });
    const first = aClaim();
    await store.claim(first);
    await fixture.expireLease(first.recordId);
    connector.after = 5 * TIMEOUT;
    const late: RecordState[] = [];
    const taken = store.claim(again(first), (record) => late.push(record));
    await expect(taken).rejects.toBeInstanceOf(StoreUnavailableError);
    connector.after = 0;
    await until(() => late.length > 0);
    await store.discard(late[0]);
    expect(await store.read(first.recordId)).toMatchObject({ status: 'failed' });
  });

  it('to a claim changes nothing where its owner has asked again, and runs', async () => {
    const connector = slow(connectorFor(fixture.dataSource));
    const store = fixture.store({ connector, timeoutMs: TIMEOUT });
    const claim = aClaim();
    connector.after = 5 * TIMEOUT;
    await expect(store.claim(claim)).rejects.toBeInstanceOf(StoreUnavailableError);
    connector.after = 0;
    const owned = ownership(await store.claim(claim));
    await sleep(6 * TIMEOUT);
    expect(await store.complete(owned, COMPLETION)).toEqual(HELD);
  });

  it('to a completion has completed all the same', async () => {
    const connector = slow(connectorFor(fixture.dataSource));
    const store = fixture.store({ connector, timeoutMs: TIMEOUT });
    const owned = ownership(await store.claim(aClaim()));
    connector.after = 5 * TIMEOUT;
    const completed = store.complete(owned, COMPLETION);
    // An execution waits for SQLite's only connection: what holds it is in the same process, and takes no record.
    if (connector.singleConnection) expect(await completed).toEqual(HELD);
    else await expect(completed).rejects.toBeInstanceOf(StoreUnavailableError);
    connector.after = 0;
    expect(await store.read(owned.recordId)).toMatchObject({ status: 'done', outcome: OUTCOME });
  });

  it('does not make others wait for it', async () => {
    const connector = slow(connectorFor(fixture.dataSource));
    const store = fixture.store({ connector, timeoutMs: TIMEOUT });
    connector.after = 60 * SECOND;
    const stuck = Array.from({ length: 4 }, () => store.claim(aClaim()));
    for (const result of await Promise.allSettled(stuck)) expect(result.status).toBe('rejected');
    connector.after = 0;
    expect(await store.claim(aClaim())).toMatchObject({ status: 'processing' });
  });
});

describe.each(BACKENDS.filter(({ dialect }) => dialect !== 'better-sqlite3'))('A connection to $name', (backend) => {
  let fixture: StoreFixture;
  let proxy: TcpProxy;
  let dataSource: DataSource;
  let store: SqlRecordStore;

  beforeEach(async () => {
    fixture = await StoreFixture.open(backend);
    proxy = await TcpProxy.listen(fixture.port);
    dataSource = await fixture.connect({ port: proxy.port, poolSize: 4 });
    store = fixture.store({ dataSource, timeoutMs: CONNECTION_TIMEOUT });
  });
  afterEach(async () => {
    await proxy?.close();
    await fixture?.close();
  });

  const asking: [string, (claim: Claim) => Promise<unknown>][] = [
    ['claim', (claim) => store.claim(claim)],
    ['read', (claim) => store.read(claim.recordId)],
    ['complete', (claim) => store.complete({ ...claim, token: 1 }, COMPLETION)],
    ['release', (claim) => store.release({ ...claim, token: 1 }, 86_400_000)],
    ['hold', (claim) => store.hold({ ...claim, token: 1 })],
    ['discard', (claim) => store.discard({ ...claim, token: 1 })],
    ['renew', (claim) => store.renew({ ...claim, token: 1 }, SECOND)],
    ['markAwaited', (claim) => store.markAwaited(claim.recordId)],
    ['load steps', (claim) => store.steps.load(claim.recordId)],
    ['begin a step', (claim) => store.steps.begin({ ...claim, token: 1 }, 'charge')],
    ['resolve', (claim) => store.resolveHeld(claim.recordId, null)],
    ['forget', (claim) => store.forget(claim.recordId)],
    ['sweep', () => store.sweep(1)],
  ];

  it('that hangs is waited for no longer than the limit, whatever is asked', async () => {
    const claim = aClaim();
    await store.claim(claim);
    proxy.blackhole(true);
    const startedAt = performance.now();
    const results = await Promise.allSettled(asking.map(([, ask]) => ask(claim)));
    expect(performance.now() - startedAt).toBeLessThan(5 * CONNECTION_TIMEOUT);
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'StoreUnavailableError' } });
    }
    proxy.blackhole(false);
    await until(() =>
      store.claim(aClaim()).then(
        () => true,
        () => false,
      ),
    );
  });

  it.each(asking)('that is cut in the middle of %s says so, and the next one works', async (_, ask) => {
    const claim = aClaim();
    await store.claim(claim);
    for (let i = 0; i < 6; i++) {
      proxy.cutAfterRequest();
      await expect(ask(claim)).rejects.toBeInstanceOf(StoreUnavailableError);
      expect(await store.claim(aClaim())).toMatchObject({ status: 'processing' });
    }
  });

  it('that was lost while idle costs at most one retry', async () => {
    await Promise.all(Array.from({ length: 4 }, () => store.read(aClaim().recordId)));
    proxy.cut();
    await sleep(50);
    expect(await store.claim(aClaim())).toMatchObject({ status: 'processing' });
  });

  it('that loses the answer to a claim has claimed, and the owner finds that out', async () => {
    const claim = aClaim();
    await store.read(claim.recordId);
    proxy.cutAfterRequest();
    await expect(store.claim(claim)).rejects.toBeInstanceOf(StoreUnavailableError);
    const owned = await store.claim(claim);
    expect(owned).toMatchObject({ owner: claim.owner, token: 1 });
    expect(await store.complete(ownership(owned), COMPLETION)).toEqual(HELD);
  });

  it('that cannot be had is reported at once', async () => {
    await proxy.refuse(true);
    proxy.cut();
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => store.claim(aClaim())));
    for (const result of results) {
      expect(result).toMatchObject({ status: 'rejected', reason: { name: 'StoreUnavailableError' } });
    }
    await proxy.refuse(false);
    expect(await store.claim(aClaim())).toMatchObject({ status: 'processing' });
  });
});
