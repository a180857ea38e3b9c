import { Socket } from 'node:net';
import { jest } from '@jest/globals';
import type { EntityManager } from 'typeorm';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';
import { aClaim, backendOf, COMPLETION, ownership, SECOND, StoreFixture } from './support.js';

describe.each(['postgres', 'mariadb'] as const)('Idle connections that a gateway has forgotten, on %s', (dialect) => {
  let fixture: StoreFixture;
  let proxy: TcpProxy;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    proxy = await TcpProxy.listen(fixture.port);
  });
  afterEach(() => void jest.restoreAllMocks());
  afterAll(async () => {
    await proxy?.close();
    await fixture?.close();
  });

  async function openStore() {
    const dataSource = await fixture.connect({ host: '127.0.0.1', port: proxy.port });
    const store = fixture.store({ dataSource, timeoutMs: 5 * SECOND });
    const reads = () => Promise.all(Array.from({ length: 4 }, () => store.read(aClaim().recordId)));
    await reads();
    return { store, reads };
  }

  it('cost one request its time-out, and not each of them', async () => {
    const { store, reads } = await openStore();
    expect(proxy.connections).toBeGreaterThan(2);
    proxy.forget();
    await expect(store.read(aClaim().recordId)).rejects.toThrow('did not answer');
    expect((await store.claim(aClaim())).token).toBe(1);
    await reads();
  });

  it('are closed where transactions were open on them, and not missing from the pool', async () => {
    const dataSource = await fixture.connect({ host: '127.0.0.1', port: proxy.port, poolSize: 2 });
    const store = fixture.store({ dataSource, timeoutMs: SECOND });
    const run = async (during: () => Promise<void>) => {
      const record = await store.claim(aClaim());
      return store.transaction(async (transaction) => {
        await (transaction.manager as EntityManager).query('SELECT 1');
        await during();
        return transaction.complete(ownership(record), COMPLETION);
      });
    };
    let open!: () => void;
    const gate = new Promise<void>((resolve) => (open = resolve));
    let begun = 0;
    const lost = [1, 2].map(() => run(() => (begun++, gate)));
    const ends = Promise.allSettled(lost);
    await until(() => begun === 2);
    proxy.forget();
    open();
    expect((await ends).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const again = () => run(() => Promise.resolve()).catch(() => undefined);
    await until(async () => (await again())?.held === true);
  });

  it('are rare, because the kernel asks after 30 s whether they still exist', async () => {
    const keepAlive = jest.spyOn(Socket.prototype, 'setKeepAlive');
    await openStore();
    const delays = keepAlive.mock.calls.filter(([enable]) => enable).map(([, delay]) => delay);
    expect(delays).toContain(30_000);
  });
});
