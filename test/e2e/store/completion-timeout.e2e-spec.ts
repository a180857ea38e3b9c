import type { EntityManager } from 'typeorm';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { TcpProxy } from '../../support/proxy.js';
import { aClaim, backendOf, StoreFixture, COMPLETION, ownership } from './support.js';

const TIMEOUT = 1_000;

describe.each([backendOf('postgres'), backendOf('mariadb')])('A completion that takes too long on $name', (backend) => {
  let fixture: StoreFixture;
  let proxy: TcpProxy;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    proxy = await TcpProxy.listen(fixture.port);
    await fixture.dataSource.query('CREATE TABLE transfer (id varchar(36) PRIMARY KEY)');
  });
  afterAll(async () => {
    await fixture?.close();
    await proxy?.close();
  });

  it('is undone with its transaction, though it was half asked when that was given up', async () => {
    const dataSource = await fixture.connect({ port: proxy.port, poolSize: 1 });
    const store = fixture.store({ dataSource, timeoutMs: TIMEOUT });
    const owned = ownership(await fixture.store().claim(aClaim()));
    // What is asked of a server once has been asked.
    await store.transaction(({ manager }) => (manager as EntityManager).query('SELECT 1'));
    const transferred = store.transaction(async (transaction) => {
      await (transaction.manager as EntityManager).query("INSERT INTO transfer (id) VALUES ('one')");
      proxy.delay(TIMEOUT);
      return transaction.complete(owned, COMPLETION);
    });
    await expect(transferred).rejects.toBeInstanceOf(StoreUnavailableError);
    proxy.delay(0);
    // On the same connection, behind all that was sent before.
    expect(await dataSource.query('SELECT id FROM transfer')).toEqual([]);
    expect(await fixture.record(owned.recordId)).toMatchObject({ status: 'processing' });
  });
});
