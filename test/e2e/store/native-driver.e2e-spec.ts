import { randomBytes } from 'node:crypto';
import { aClaim, again, backendOf, COMPLETION, HELD, OUTCOME, ownership, StoreFixture } from './support.js';

interface Client {
  query(statement: { readonly text: string; readonly values?: readonly unknown[] }, done: unknown): unknown;
}

// TypeORM takes pg-native where it is installed. It cut bytes at the first zero, and PostgreSQL refused most of the others.
test('Parameters for pg-native have no bytes', async () => {
  const fixture = await StoreFixture.open(backendOf('postgres'));
  try {
    const dataSource = await fixture.connect();
    const sent: unknown[] = [];
    const { master } = dataSource.driver as unknown as {
      master: { on(event: string, listener: (client: Client) => void): void };
    };
    master.on('connect', (client) => {
      const query = client.query.bind(client);
      Object.assign(client, {
        // The mark by which pg-native is known, on a client that works as the others.
        native: {},
        query: (statement: Parameters<Client['query']>[0], done: unknown) => {
          if (statement.text.includes('idempotency_')) sent.push(...(statement.values ?? []));
          return query(statement, done);
        },
      });
    });
    const store = fixture.store({ dataSource });
    const claim = aClaim({
      request: Buffer.from([0, 255, 92, 128]),
      binding: randomBytes(32),
      scopeDigest: randomBytes(32),
    });
    const ours = ownership(await store.claim(claim));
    expect(await store.steps.begin(ours, 'charge-€')).toEqual(HELD);
    expect(await store.steps.load(ours.recordId)).toMatchObject([{ name: 'charge-€' }]);
    expect(await store.complete(ours, COMPLETION)).toEqual(HELD);
    const { fingerprint, binding } = claim;
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME, fingerprint, binding });
    expect((await fixture.record(claim.recordId))?.request).toEqual(claim.request);
    expect(sent.length).toBeGreaterThan(20);
    expect(sent.filter((value) => Buffer.isBuffer(value))).toEqual([]);
  } finally {
    await fixture.close();
  }
});
