import { connectorFor } from '../../../lib/store/connectors/index.js';
import { TcpProxy } from '../../support/proxy.js';
import { aClaim, backendOf, COMPLETION, HELD, LOST, ownership, StoreFixture } from './support.js';

// An application that moves to another server, or that gets another password, initializes its data source again. The store's own
// connections still led to the old server: records were written there, or every request got 503.
describe.each(['postgres', 'mariadb'] as const)('A data source of %s that is initialized again', (dialect) => {
  let fixture: StoreFixture;
  const proxies: TcpProxy[] = [];

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
  });
  afterAll(async () => {
    for (const proxy of proxies) await proxy.close();
    await fixture?.close();
  });

  async function address(): Promise<TcpProxy> {
    const proxy = await TcpProxy.listen(fixture.port);
    proxies.push(proxy);
    return proxy;
  }

  it('takes the store with it to where it connects', async () => {
    const [before, after] = [await address(), await address()];
    const dataSource = await fixture.connect({ port: before.port });
    const connector = connectorFor(dataSource, 4);
    const store = fixture.store({ dataSource, connector });
    let stale = 0;
    connector.onStale?.(() => stale++);
    const first = ownership(await store.claim(aClaim()));
    expect(await store.complete(first, COMPLETION)).toEqual(HELD);

    await dataSource.destroy();
    // Statements of operations that still run have the store's own connections.
    expect(await store.renew(first, 1_000)).toEqual(LOST);
    dataSource.setOptions({ port: after.port } as object);
    await dataSource.initialize();
    // TypeORM's driver of MySQL keeps the options that it was made with.
    (dialect === 'postgres' ? before : after).blackhole(true);
    const records = await Promise.all(Array.from({ length: 8 }, () => store.claim(aClaim())));
    expect(await store.steps.begin(ownership(records[0]), 'charge')).toEqual(HELD);
    const completed = await Promise.all(records.map((record) => store.complete(ownership(record), COMPLETION)));
    expect(completed).toEqual(records.map(() => HELD));
    expect(await store.transaction((transaction) => transaction.complete(first, COMPLETION))).toEqual(LOST);
    expect(stale).toBe(1);
  });
});
