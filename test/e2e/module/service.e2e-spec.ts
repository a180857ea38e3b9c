import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Module, UnprocessableEntityException } from '@nestjs/common';
import type { INestApplicationContext } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import {
  IdempotencyModule,
  type IdempotencyEvent,
  type IdempotencyModuleOptions,
  IdempotencyKeyReusedException,
  IdempotencyRecordUnreadableException,
  IdempotencyReplayUnavailableException,
  IdempotencyService,
} from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { until } from '../../support/until.js';

@Entity('payout')
class Payout {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'int' }) amount!: number;
}

@Injectable()
class Payouts {
  runs = 0;
  constructor(private readonly idempotency: IdempotencyService) {}

  pay(key: string, amount: number) {
    return this.idempotency.run({ key, operation: 'payout', input: { amount } }, async (execution) => {
      this.runs++;
      if (this.idempotency.currentExecution() !== execution) throw new Error('not the current execution');
      await sleep(20);
      return { paid: amount, at: new Date(0), attempt: execution.attempt };
    });
  }
}

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('IdempotencyService on %s', (dialect) => {
  let database: TestDatabase;
  let app: INestApplicationContext;
  let service: IdempotencyService;

  async function boot(options: IdempotencyModuleOptions = {}) {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, entities: [Payout], synchronize: true }),
        IdempotencyModule.forRootAsync({ useFactory: () => ({ sweep: false, ...options }) }),
      ],
      providers: [Payouts],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] }).compile();
    return module.init();
  }

  beforeAll(async () => {
    database = await createDatabase(dialect);
    app = await boot({ request: { redact: [] } });
    service = app.get(IdempotencyService);
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  test.each([
    ['key', undefined],
    ['key', ''],
    ['key', 7],
    ['operation', undefined],
    ['operation', ''],
    ['scope', 7],
  ])('run and find refuse %s: %p, which would be the same for all', async (name, value) => {
    const given = { key: 'k', operation: 'payout', scope: 'a', [name]: value } as { key: string; operation: string };
    let runs = 0;
    await expect(service.run(given, () => runs++)).rejects.toThrow(
      new RegExp(`^IdempotencyService\\.run\\(\\) .* .${name}.`),
    );
    expect(runs).toBe(0);
    await expect(service.find(given)).rejects.toThrow(new RegExp(`^IdempotencyService\\.find\\(\\) .* .${name}.`));
  });

  test('run: once, then the same value', async () => {
    const payouts = app.get(Payouts);
    const first = await payouts.pay('p1', 5);
    expect(first).toEqual({ paid: 5, at: new Date(0), attempt: 1 });
    expect(await payouts.pay('p1', 5)).toEqual({ paid: 5, at: new Date(0), attempt: 1 });
    expect(payouts.runs).toBe(1);
    await expect(payouts.pay('p1', 6)).rejects.toBeInstanceOf(IdempotencyKeyReusedException);
    expect(service.currentExecution()).toBeUndefined();
  });

  test('run: scopes and operations are apart', async () => {
    const run = (scope: string, operation: string) =>
      service.run({ key: 'k', scope, operation }, () => scope + operation);
    expect(await run('a', 'x')).toBe('ax');
    expect(await run('b', 'x')).toBe('bx');
    expect(await run('a', 'y')).toBe('ay');
    expect(await run('a', 'x')).toBe('ax');
  });

  test('run: undefined, null and falsy values', async () => {
    for (const [i, value] of [undefined, null, 0, false, ''].entries()) {
      const run = () => service.run({ key: `falsy-${i}`, operation: 'value' }, () => value);
      expect(await run()).toBe(value);
      expect(await run()).toBe(value);
    }
  });

  test('run: what throws frees the key, but HTTP errors below 500', async () => {
    let runs = 0;
    const failing = (error: Error) =>
      service.run({ key: error.message, operation: 'failing' }, () => {
        runs++;
        throw error;
      });
    await expect(failing(new Error('passing'))).rejects.toThrow('passing');
    await expect(failing(new Error('passing'))).rejects.toThrow('passing');
    expect(runs).toBe(2);
    await expect(failing(new UnprocessableEntityException('final'))).rejects.toThrow('final');
    await expect(failing(new UnprocessableEntityException('final'))).rejects.toMatchObject({ status: 422 });
    expect(runs).toBe(3);
  });

  test('run: an option `outcome` that throws keeps what was done', async () => {
    let runs = 0;
    const run = () =>
      service.run({ key: 'undecided', operation: 'undecided', outcome: () => JSON.parse('{') }, () => ++runs);
    expect(await run()).toBe(1);
    expect(await run()).toBe(1);
  });

  test('run: a refusal of an operation inside that may be tried again is not kept', async () => {
    let inner!: () => void;
    const running = service.run(
      { key: 'inner', operation: 'inner' },
      () => new Promise<void>((resolve) => (inner = resolve)),
    );
    const outer = () =>
      service.run({ key: 'outer', operation: 'outer' }, () =>
        service.run({ key: 'inner', operation: 'inner' }, () => 2),
      );
    await expect(outer()).rejects.toMatchObject({ code: 'in-progress' });
    inner();
    await running;
    expect(await outer()).toBeUndefined();
  });

  test('run: one that lost its record to an outcome that cannot be read is refused as such', async () => {
    const identity = { key: 'unreadable', operation: 'payout' };
    const run = service.run(identity, async () => {
      const { id } = (await service.find(identity))!;
      await app
        .get(DataSource)
        .query(
          `UPDATE idempotency_record SET status = 'done', token = 9, response_code = 1, response_head = $head WHERE id = '${id}'`.replace(
            '$head',
            dialect === 'postgres' ? `'{'::bytea` : `X'7B'`,
          ),
        );
      return 'paid';
    });
    await expect(run).rejects.toBeInstanceOf(IdempotencyRecordUnreadableException);
  });

  test('run: one that is within itself does not wait for itself', async () => {
    const given = { key: 'itself', operation: 'itself', onConflict: 'wait', waitTimeout: '10m' } as const;
    const runs: unknown[] = [];
    const own = () => service.run(given, () => runs.push('inner')).catch((error: unknown) => runs.push(error));
    await service.run(given, own);
    expect(runs).toEqual([expect.objectContaining({ code: 'in-progress' })]);
  });

  test('run: a value that is too large is not run again', async () => {
    const run = () =>
      service.run({ key: 'large', operation: 'large', response: { maxBytes: 10 } }, () => 'x'.repeat(100));
    expect(await run()).toHaveLength(100);
    await expect(run()).rejects.toBeInstanceOf(IdempotencyReplayUnavailableException);
  });

  test('run: transactional, with doNotStore and setRetention', async () => {
    const dataSource = app.get(DataSource);
    const pay = (id: string, then: () => void = () => undefined) =>
      service.run({ key: id, operation: 'transactional', transactional: true }, async (execution) => {
        await execution.manager.insert(Payout, { id, amount: 1 });
        then();
        if (id === 'unstored') execution.doNotStore();
        if (id === 'brief') execution.setRetention(1);
        return id;
      });
    expect(await pay('kept')).toBe('kept');
    expect(await pay('kept')).toBe('kept');
    await expect(pay('failed', () => JSON.parse('{'))).rejects.toThrow(SyntaxError);
    expect(await pay('unstored')).toBe('unstored');
    expect((await dataSource.getRepository(Payout).find()).map((payout) => payout.id)).toEqual(['kept']);
    await pay('brief');
    await sleep(20);
    await expect(pay('brief')).rejects.toThrow(/duplicate|unique/i);
  });

  test('find, list, forget', async () => {
    await service.run({ key: 'found', scope: 'me', operation: 'find', input: { secret: 1 } }, () => 'v');
    const record = (await service.find({ key: 'found', scope: 'me', operation: 'find' }))!;
    expect(record).toMatchObject({ endpoint: 'find', status: 'done', attempt: 1, token: 1, takenFrom: null });
    expect(record.createdAt.getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect(record.expiresAt.getTime() - record.completedAt!.getTime()).toBeGreaterThanOrEqual(24 * 3_600_000);
    expect(record.responseBody!.toString()).toBe('"v"');
    expect(await service.find(record.id)).toMatchObject({ id: record.id });
    expect(await service.find({ key: 'found', operation: 'find' })).toBeNull();

    const listed = await service.list({ operation: 'find', status: 'done' });
    expect(listed.map(({ id }) => id)).toEqual([record.id]);
    expect(await service.list({ operation: 'find', before: record.createdAt })).toEqual([]);

    expect(await service.forget(record.id)).toBe(true);
    expect(await service.forget(record.id)).toBe(false);
    expect(await service.run({ key: 'found', scope: 'me', operation: 'find' }, () => 'new')).toBe('new');
  });

  // By the time of the last record, as a Date, a page left out records that had been claimed in the same batch, or millisecond.
  test('list: pages of records that were claimed within a millisecond', async () => {
    const keys = ['a', 'b', 'c', 'd', 'e'];
    for (const key of keys) await service.run({ key, operation: 'pages' }, () => key);
    const data = app.get(DataSource);
    const time = dialect === 'postgres' ? `timestamptz '2026-11-30 10:00:00.000' + attempt * interval '300 us'` : '1';
    await data.query(`UPDATE idempotency_record SET created_at = ${time} WHERE endpoint = 'pages'`);
    const [{ id: newest }] = await service.list({ operation: 'pages' });
    if (dialect === 'postgres') {
      const later = `created_at + interval '300 us'`;
      await data.query(`UPDATE idempotency_record SET created_at = ${later} WHERE id = '${newest}'`);
    }
    const whole = (await service.list({ operation: 'pages' })).map(({ id }) => id);
    expect(whole).toHaveLength(5);
    const paged: string[] = [];
    for (let page = 1; page <= 3; page++) {
      const records = await service.list({ operation: 'pages', limit: 2, before: paged.at(-1)?.toUpperCase() });
      paged.push(...records.map(({ id }) => id));
    }
    expect(paged).toEqual(whole);
    expect(await service.list({ operation: 'pages', before: whole[4] })).toEqual([]);
    await service.forget(newest);
    await expect(service.list({ before: newest })).rejects.toThrow(`There is no record ${newest}`);
    await expect(service.list({ before: 'a' })).rejects.toThrow('`before` as the id of a record, or a Date');
  });

  test('held: as a request would find the record, though no request has come yet', async () => {
    let wake: () => void = () => undefined;
    const silence = new Promise<void>((resolve) => (wake = resolve));
    const run = (key: string, afterCrash: 'hold' | 'rerun', lease: number) =>
      void service
        .run({ key, operation: 'dying', afterCrash, lease, retention: '1h' }, () => silence)
        .catch(() => undefined);
    run('silent', 'hold', 60_000);
    run('rerun', 'rerun', 60_000);
    run('alive', 'hold', 60_000);
    const idOf = async (key: string) => (await service.find({ key, operation: 'dying' }))?.id;
    for (const key of ['silent', 'rerun', 'alive']) await until(() => idOf(key));
    const [silent, rerun, alive] = (await Promise.all(['silent', 'rerun', 'alive'].map(idOf))) as string[];
    // Their heartbeats come a third of a lease later.
    const past = dialect === 'postgres' ? `now() - interval '1 minute'` : String(Date.now() - 60_000);
    await app
      .get(DataSource)
      .query(`UPDATE idempotency_record SET lease_until = ${past} WHERE id IN ('${silent}', '${rerun}')`);

    const idsOf = async (status: 'held' | 'processing') =>
      new Set((await service.list({ operation: 'dying', status })).map(({ id }) => id));
    expect(await idsOf('held')).toEqual(new Set([silent]));
    expect(await idsOf('processing')).toEqual(new Set([rerun, alive]));
    expect(await service.find(silent)).toMatchObject({ status: 'held' });
    expect(await service.stats()).toMatchObject({ byStatus: { held: 1, processing: 2 }, abandoned: 1 });
    expect(await service.resolve(silent, 'release')).toBe(true);
    expect(await service.find(silent)).toMatchObject({ status: 'failed' });
    for (const id of [silent, rerun, alive]) await service.forget(id);
    wake();
  });

  test('retention: expired outcomes run again, and are purged', async () => {
    let runs = 0;
    const run = (key: string) =>
      service.run({ key, operation: 'expiring', lease: 1_000, retention: 1_500 }, () => ({ run: ++runs }));
    expect(await run('short')).toEqual({ run: 1 });
    expect(await run('short')).toEqual({ run: 1 });
    await until(async () => (await run('short')).run === 2);
    expect(await service.find({ key: 'short', operation: 'expiring' })).toMatchObject({ attempt: 1, token: 2 });
    await until(async () => (await service.purgeExpired()) >= 1);
    expect(await service.find({ key: 'short', operation: 'expiring' })).toBeNull();
    expect(await service.purgeExpired()).toBe(0);
  });

  test('events$ emits what happens', async () => {
    const events: IdempotencyEvent[] = [];
    const subscription = service.events$.subscribe((event) => events.push(event));
    const run = (input: number) =>
      service.run({ key: 'watched', operation: 'watched', input, onConflict: 'wait' }, () => sleep(20, input));
    await Promise.all([run(1), run(1)]);
    await run(1);
    await run(2).catch(() => undefined);
    subscription.unsubscribe();
    expect(events.map((event) => event.type)).toEqual([
      'claimed',
      'completed',
      'replayed',
      'waited',
      'replayed',
      'mismatch',
    ]);
    expect(JSON.stringify(events)).not.toContain('"key"');
  });

  test('the sweeper sweeps by itself, and its timer keeps no process alive', async () => {
    const other = await boot({ sweep: { every: 50, batch: 2 }, retention: 100, lease: 50 });
    const swept = other.get(IdempotencyService);
    for (let i = 0; i < 7; i++) await swept.run({ key: `swept-${i}`, operation: 'swept' }, () => i);
    await until(async () => (await swept.list({ operation: 'swept' })).length === 0, 20_000);
    await other.close();
  });
});
