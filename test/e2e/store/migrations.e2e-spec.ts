import type { DataSource } from 'typeorm';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { aClaim, again, BACKENDS, Bench, COMPLETION, HELD, OUTCOME, ownership } from './support.js';

const migrations = [...IDEMPOTENCY_MIGRATIONS];

/** What TypeORM would still change. */
async function differences(dataSource: DataSource): Promise<string[]> {
  const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
  return upQueries.map(({ query }) => query);
}

/** Which of the tables that these tests make are there. */
async function tableNames(dataSource: DataSource): Promise<string[]> {
  const runner = dataSource.createQueryRunner();
  const names: string[] = [];
  try {
    for (const prefix of ['a_', 'b_', '']) {
      for (const table of ['idempotency_record', 'idempotency_step']) {
        if (await runner.hasTable(prefix + table)) names.push(prefix + table);
      }
    }
    return names;
  } finally {
    await runner.release();
  }
}

describe.each(BACKENDS)('The schema on $name', (backend) => {
  const benches: Bench[] = [];
  const open = async (options: object) => {
    const bench = await Bench.open(backend, options);
    benches.push(bench);
    return bench;
  };
  afterEach(async () => {
    for (const bench of benches.splice(0)) await bench.close();
  });

  async function expectWorking(bench: Bench): Promise<void> {
    const store = bench.store();
    const claim = aClaim({ request: Buffer.from('{}') });
    const owner = ownership(await store.claim(claim));
    expect(await store.steps.begin(owner, 'charge')).toEqual(HELD);
    expect(await store.complete(owner, COMPLETION)).toEqual(HELD);
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME });
  }

  it('is settled once it is synchronized', async () => {
    const bench = await open({ synchronize: true });
    expect(await differences(bench.dataSource)).toEqual([]);
    await expectWorking(bench);
    await bench.dataSource.synchronize();
    expect(await differences(bench.dataSource)).toEqual([]);
  });

  it('is the same by migration, forward and back and forward again', async () => {
    const bench = await open({ synchronize: false, migrations });
    const { dataSource } = bench;
    expect(await tableNames(dataSource)).toEqual([]);
    for (let i = 0; i < 2; i++) {
      expect(await dataSource.runMigrations()).toHaveLength(1);
      expect(await dataSource.runMigrations()).toHaveLength(0);
      expect(await tableNames(dataSource)).toEqual(['idempotency_record', 'idempotency_step']);
      expect(await differences(dataSource)).toEqual([]);
      await expectWorking(bench);
      await dataSource.undoLastMigration();
      expect(await tableNames(dataSource)).toEqual([]);
    }
  });

  it('honours a prefix, and leaves room for a second one', async () => {
    for (const synchronize of [true, false]) {
      const bench = await open({ synchronize, entityPrefix: 'a_', migrations });
      if (!synchronize) await bench.dataSource.runMigrations();
      expect(await differences(bench.dataSource)).toEqual([]);
      await expectWorking(bench);
      const second = await bench.connect({
        synchronize,
        entityPrefix: 'b_',
        migrations,
        migrationsTableName: 'b_migrations',
      });
      if (!synchronize) await second.runMigrations();
      expect(await tableNames(second)).toEqual([
        'a_idempotency_record',
        'a_idempotency_step',
        'b_idempotency_record',
        'b_idempotency_step',
      ]);
      expect(await differences(second)).toEqual([]);
    }
  });

  if (backend.dialect === 'postgres') {
    it('honours a schema', async () => {
      const bench = await open({ synchronize: true });
      await bench.dataSource.query('CREATE SCHEMA "Side"');
      const side = await bench.connect({ schema: 'Side', migrations });
      await side.runMigrations();
      expect(await differences(side)).toEqual([]);
      const claim = aClaim();
      await bench.store({ dataSource: side }).claim(claim);
      expect(await bench.record(claim.recordId)).toBeNull();
      const rows: unknown[] = await side.query('SELECT id FROM "Side".idempotency_record');
      expect(rows).toEqual([{ id: claim.recordId }]);
    });
  }
});
