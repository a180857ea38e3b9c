import { jest } from '@jest/globals';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { MysqlConnection } from '../../../lib/store/dialects/mysql.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import { until } from '../../support/until.js';
import { backendOf, StoreFixture } from './support.js';

describe.each([
  ['postgres', 'SELECT pg_sleep(600)', 'pg_backend_pid()', 'pg_stat_activity', 'query'],
  ['mariadb', 'SELECT SLEEP(600)', 'CONNECTION_ID()', 'information_schema.processlist', 'info'],
] as const)('A connection to %s', (dialect, sleep, id, statements, text) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });
  afterAll(() => fixture?.close());

  it('that has not answered for half a minute is closed, and not missing from the pool', async () => {
    // The last 27 seconds of half a minute are one second here.
    const { setTimeout } = globalThis;
    const monotonic = performance.now.bind(performance);
    let skippedMs = 0;
    jest.spyOn(performance, 'now').mockImplementation(() => monotonic() + skippedMs);
    jest.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms: number) => {
      if (ms < 20_000) return setTimeout(run, ms);
      const end = () => {
        skippedMs += ms - 1_000;
        run();
      };
      return setTimeout(end, 1_000);
    }) as never);
    const connector = connectorFor(fixture.dataSource, 1);
    const ask = (statement: string) =>
      dialect === 'postgres'
        ? (connector as Connector<PgConnection>).alone((on) => on.query({ text: statement }))
        : (connector as Connector<MysqlConnection>).alone((on) => on.query(statement, []));
    const idOf = async () => (await ask(`SELECT ${id} AS id`)).rows[0].id;
    try {
      const first = await idOf();
      const silent = ask(sleep);
      const settled = Promise.allSettled([silent]);
      const runs = async () => {
        const found: unknown[] = await fixture.dataSource.query(
          `SELECT 1 FROM ${statements} WHERE ${text} = '${sleep}'`,
        );
        return found.length > 0;
      };
      await until(runs);
      const sentAt = monotonic();
      // MariaDB ends the statement with an answer, and the connection all the same.
      await settled;
      expect(monotonic() - sentAt).toBeLessThan(20_000);
      expect(await idOf()).not.toBe(first);
      // PostgreSQL went on with it: behind a lock, it claimed a record minutes later, for no one.
      await until(async () => !(await runs()));
    } finally {
      await connector.close?.();
    }
  });
});
