import { randomBytes, randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { DataSource, type EntitySubscriberInterface } from 'typeorm';
import { RecordPages } from '../../lib/dashboard/record-pages.js';
import { ScopeDigest } from '../../lib/edges/caller/caller-digests.js';
import {
  type Execution,
  IDEMPOTENCY_ENTITIES,
  Idempotent,
  IdempotencyService,
  IdempotentExecution,
} from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { type RunningApp, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

const POOL = 3;

@Controller('bookings')
class BookingsController {
  @Idempotent({ lease: '1h' })
  @Post()
  async book(@IdempotentExecution() execution: Execution, @Body() { room }: { room: number }) {
    return { room: await execution.step('reserve', async () => room) };
  }
}

/** As of an application all of whose entities have the column. */
class Decrypts implements EntitySubscriberInterface {
  afterLoad(entity: { secret: string }): void {
    entity.secret = Buffer.from(entity.secret, 'base64').toString();
  }
}

/** What an application may do to its reads that must not reach those of operators. */
const SETTINGS = {
  'connections in the schema of a tenant': async (_database: TestDatabase) => ({}),
  'a replica without the records': async ({ dialect, options }: TestDatabase) => {
    const replica: TestDatabase = await createDatabase(dialect);
    // The tables, as a replica that lags behind has them.
    const tables = new DataSource({ ...replica.options, entities: [...IDEMPOTENCY_ENTITIES], synchronize: true });
    await tables.initialize();
    const reader = { ...replica.options } as { database: string; username: string; password: string };
    if (dialect === 'mariadb') {
      // Without rights on the primary's database, which the statements name.
      Object.assign(reader, { username: `reader_${randomBytes(4).toString('hex')}`, password: '' });
      await tables.query(`CREATE USER ${reader.username}@'127.0.0.1'`);
      await tables.query(`GRANT SELECT ON ${reader.database}.* TO ${reader.username}@'127.0.0.1'`);
    }
    await tables.destroy();
    // Without it, MySQL's gets a warning at boot.
    const replication = { master: options, slaves: [reader], restoreNodeTimeout: 1_000 };
    return { drop: () => replica.drop(), options: { replication } };
  },
  'a cache of all queries, and a subscriber of all entities': async (_database: TestDatabase) => ({
    options: {
      cache: { type: 'database', alwaysEnabled: true, duration: 3_600_000 },
      subscribers: [Decrypts],
    },
  }),
} as const;

type Setting = keyof typeof SETTINGS;

describe.each(['postgres', 'mariadb'] as const)('What operators read on %s', (dialect) => {
  const tenant = `tenant_${randomBytes(4).toString('hex')}`;
  const ends: (() => Promise<unknown>)[] = [];

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  async function start(setting: Setting): Promise<RunningApp> {
    const database: TestDatabase = await createDatabase(dialect);
    ends.push(() => database.drop());
    const { options, drop } = (await SETTINGS[setting](database)) as { options?: object; drop?: () => Promise<void> };
    if (drop) ends.push(drop);
    const app = await startApp('express', {
      database: { ...database, options: { ...database.options, poolSize: POOL, ...options } as never },
      controllers: [BookingsController],
    });
    ends.push(() => app.close());
    return app;
  }

  /** Moves all connections of the pool to the schema of a tenant, which has tables of these names too. */
  async function moveToTenant({ dataSource }: RunningApp): Promise<void> {
    const kind = dialect === 'postgres' ? 'SCHEMA' : 'DATABASE';
    await dataSource.query(`CREATE ${kind} ${tenant}`);
    ends.push(() => dataSource.query(`DROP ${kind} ${tenant}${dialect === 'postgres' ? ' CASCADE' : ''}`));
    for (const table of ['idempotency_record', 'idempotency_step']) {
      await dataSource.query(
        `CREATE TABLE ${tenant}.${table} ${dialect === 'postgres' ? `(LIKE ${table})` : `LIKE ${table}`}`,
      );
    }
    const runners = Array.from({ length: POOL }, () => dataSource.createQueryRunner());
    await Promise.all(runners.map((runner) => runner.connect()));
    const move = dialect === 'postgres' ? `SET search_path TO ${tenant}` : `USE ${tenant}`;
    await Promise.all(runners.map((runner) => runner.query(move)));
    await Promise.all(runners.map((runner) => runner.release()));
  }

  it.each(Object.keys(SETTINGS) as Setting[])('is what the store has written, with %s', async (setting) => {
    const app = await start(setting);
    const service = app.app.get(IdempotencyService);
    const pages = new RecordPages(app.dataSource, new ScopeDigest({}));
    if (setting === 'connections in the schema of a tenant') await moveToTenant(app);
    const key = randomUUID();
    const identity = { key, operation: 'POST /bookings' };
    const find = () => Promise.all(Array.from({ length: POOL }, () => service.find(identity)));
    const page = () => pages.page({ order: 'newest', limit: 10 });
    expect(await find()).toEqual(Array(POOL).fill(null));
    expect([await service.list(), (await page()).records]).toEqual([[], []]);

    expect(await send(app.port, { path: '/bookings', key, body: { room: 7 } })).toMatchObject({ status: 201 });
    const found = await find();
    expect(found).toMatchObject(Array(POOL).fill({ status: 'done', endpoint: 'POST /bookings', responseCode: 201 }));
    const { id, responseBody, request } = found[0]!;
    expect([String(responseBody), JSON.parse(String(request)).body]).toEqual(['{"room":7}', { room: 7 }]);
    expect((await service.list({ status: 'done' })).map((record) => record.id)).toEqual([id]);
    expect((await page()).records.map((record) => record.id)).toEqual([id]);
    expect((await pages.whole(id))?.record).toEqual(found[0]);
    expect(await service.steps(id)).toMatchObject([{ name: 'reserve', status: 'done' }]);
    const total = await service.stats().then(
      (stats) => stats.total,
      (error: Error) => error.message,
    );
    const ofReplica = dialect === 'postgres' ? 0 : expect.stringContaining('command denied');
    expect(total).toEqual(setting === 'a replica without the records' ? ofReplica : 1);

    expect(await service.forget(id)).toBe(true);
    expect(await find()).toEqual(Array(POOL).fill(null));
    expect(await service.steps(id)).toEqual([]);
    expect((await page()).records).toEqual([]);
    expect(app.log.lines).toEqual([]);
  });
});
