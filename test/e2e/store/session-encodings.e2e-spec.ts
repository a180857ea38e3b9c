import type { DataSource } from 'typeorm';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { IS_MYSQL } from '../../support/database.js';
import { startMariadb } from '../../support/servers.mjs';
import { aClaim, backendOf, COMPLETION, HELD, HOUR, OUTCOME, again, ownership, StoreFixture } from './support.js';

const NAME = 'charge-€ заказ 注文 😀';

interface Client {
  query(sql: string, done: () => void): void;
  execute(sql: string | object, values: unknown[], done: unknown): unknown;
}

/** Has each new connection of the application run a statement, the store's own with them. */
function prepare(dataSource: DataSource, work: (client: Client) => void): void {
  const { master, pool } = dataSource.driver as unknown as Record<
    'master' | 'pool',
    { on(event: string, listener: typeof work): void } | undefined
  >;
  master?.on('connect', work);
  pool?.on('connection', work);
}

// The step was found under another name, and done again.
test.each([
  ['postgres', "SET client_encoding = 'LATIN1'"],
  ['mariadb', 'SET NAMES latin1'],
] as const)('A step keeps its name in a session of %s with another encoding', async (dialect, statement) => {
  const fixture = await StoreFixture.open(backendOf(dialect));
  try {
    const dataSource = await fixture.connect({ poolSize: 2 });
    prepare(dataSource, (client) => client.query(statement, () => undefined));
    const [store, plain] = [fixture.store({ dataSource }), fixture.store()];
    const ours = ownership(await store.claim(aClaim()));
    expect(await store.steps.begin(ours, NAME)).toEqual(HELD);
    expect(await plain.steps.end(ours, NAME, { status: 'done', result: '1' })).toEqual(HELD);
    const step = { name: NAME, status: 'done', result: '1' };
    expect([await store.steps.load(ours.recordId), await plain.steps.load(ours.recordId)]).toEqual([[step], [step]]);
    expect(await fixture.steps(ours.recordId)).toMatchObject([{ name: NAME }]);
  } finally {
    await fixture.close();
  }
});

// As older versions of mysql2 send them. Each retry was then another request, and the bytes of a response were others.
test('A session of MariaDB that would change bytes is refused', async () => {
  const fixture = await StoreFixture.open(backendOf('mariadb'));
  try {
    const dataSource = await fixture.connect();
    prepare(dataSource, (client) => {
      const execute = client.execute.bind(client);
      client.execute = (sql, values, done) =>
        execute(
          sql,
          values.map((value) => (Buffer.isBuffer(value) ? value.toString('latin1') : value)),
          done,
        );
    });
    await expect(fixture.store({ dataSource }).claim(aClaim())).rejects.toMatchObject({
      cause: { message: expect.stringMatching(/^this version of mysql2 sends bytes as text/) },
    });
  } finally {
    await fixture.close();
  }
});

// Statements in a transaction of the store's own were refused: records could be neither deleted nor resolved.
test('A MariaDB with settings of former times', async () => {
  const server = await startMariadb({
    settings: [
      '--character-set-server=latin1',
      '--autocommit=0',
      '--log-bin=log',
      '--server-id=1',
      '--binlog-format=STATEMENT',
      // MySQL 8.4 has no longer the first, and takes the second only when its data are made.
      ...(IS_MYSQL ? [] : ['--skip-character-set-client-handshake', '--lower-case-table-names=1']),
      '--sql-mode=ANSI,NO_BACKSLASH_ESCAPES',
    ],
  });
  const fixture = await StoreFixture.open(backendOf('mariadb'));
  try {
    const dataSource = await fixture.connect({ port: server.port, database: 'test', synchronize: true });
    const store = fixture.store({ dataSource, connector: connectorFor(dataSource, 4) });
    const claim = aClaim();
    const ours = ownership(await store.claim(claim));
    expect(await store.steps.begin(ours, NAME)).toEqual(HELD);
    expect(await store.steps.load(ours.recordId)).toEqual([{ name: NAME, status: 'begun', result: null }]);
    expect(await store.complete(ours, COMPLETION)).toEqual(HELD);
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME });
    const held = ownership(await store.claim(aClaim()));
    expect(await store.hold(held)).toEqual(HELD);
    expect(await store.resolveHeld(held.recordId, null, HOUR)).toBe(true);
    expect(await store.forget(claim.recordId)).toBe(true);
    expect(await store.sweep(10)).toBe(0);
  } finally {
    await fixture.close();
    await server.dispose();
  }
});
