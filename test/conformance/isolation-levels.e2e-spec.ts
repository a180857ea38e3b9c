import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import { SqlRecordStore } from '../../lib/store/sql-record-store.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { type AppSettings, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';

@Entity('booking')
class Booking {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 36 }) key!: string;
}

type Level = 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE';

/** Who asks for the level. */
type By = 'the server’s default' | 'the handler' | 'the transaction host';

const levelOf: { level: Level | undefined } = { level: undefined };
const gates = new Map<string, () => void>();
let runs = 0;

@Controller('bookings')
class BookingsController {
  @Idempotent({ transactional: true, lease: '400ms', onConflict: 'wait', waitTimeout: '30s' })
  @Post('long')
  long(@IdempotentExecution() execution: Execution) {
    return this.book(execution);
  }

  @Idempotent({ transactional: true, lease: '1h' })
  @Post('overtaken')
  overtaken(@IdempotentExecution() execution: Execution) {
    return this.book(execution);
  }

  /** Has its snapshot, and then waits. */
  private async book({ manager, key, attempt }: Execution) {
    runs++;
    const { level } = levelOf;
    if (level) await manager.query(`SET TRANSACTION ISOLATION LEVEL ${level}`);
    await manager.count(Booking);
    if (attempt === 1) await new Promise<void>((resolve) => gates.set(key, resolve));
    const { id } = await manager.save(Booking, { id: randomUUID(), key });
    return { id, level: await levelWithin(manager) };
  }
}

async function levelWithin(manager: EntityManager): Promise<unknown> {
  if (manager.connection.options.type !== 'postgres') return undefined;
  const [row] = await manager.query('SHOW transaction_isolation');
  return String(row.transaction_isolation).toUpperCase();
}

const postgres = (['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const).flatMap((level) =>
  (['the server’s default', 'the handler', 'the transaction host'] as const).map(
    (by) => ['postgres', level, by] as const,
  ),
);
/** Without SERIALIZABLE, at which the one handler's SELECT locks out the other's INSERT. */
const mariadb = (['READ COMMITTED', 'REPEATABLE READ'] as const).map(
  (level) => ['mariadb', level, 'the transaction host'] as const,
);

describe.each<readonly ['postgres' | 'mariadb', Level, By]>([...postgres, ...mariadb])(
  'a transactional operation on %s at %s, as %s has it',
  (dialect, level, by) => {
    const apps: RunningApp[] = [];
    let database: TestDatabase;

    beforeAll(async () => {
      levelOf.level = by === 'the handler' ? level : undefined;
      const made: TestDatabase = await createDatabase(dialect);
      const extra = { options: `-c default_transaction_isolation=${level.toLowerCase().replace(' ', '\\ ')}` };
      database = by === 'the server’s default' ? { ...made, options: { ...made.options, extra } as never } : made;
      const settings: AppSettings = {
        database,
        controllers: [BookingsController],
        imports: [TypeOrmModule.forFeature([Booking])],
        options:
          by === 'the transaction host'
            ? { transactionHost: { run: (dataSource, work) => dataSource.transaction(level, work) } }
            : {},
      };
      // Two processes, as far as the database knows.
      for (const platform of PLATFORMS) apps.push(await startApp(platform, settings));
    });
    afterAll(async () => {
      for (const app of apps) await app.close();
      await database?.drop();
    });

    const bookingsOf = (key: string) => apps[0].dataSource.getRepository(Booking).findBy({ key });
    it.each(['express', 'fastify'])('is recorded after heartbeats, and its waiters get the outcome: %s', async (on) => {
      const [owner, other] = on === 'express' ? apps : [...apps].reverse();
      const request = { path: '/bookings/long', key: randomUUID(), body: {} };
      const before = runs;
      const first = send(owner.port, request);
      await until(() => gates.has(request.key));
      const service = owner.app.get(IdempotencyService);
      const leaseUntil = async () => {
        const running = await service.list({ status: 'processing', operation: 'POST /bookings/long' });
        return running[0]?.leaseUntil.getTime() ?? 0;
      };
      const second = send(other.port, request);
      const begun = await leaseUntil();
      await until(async () => (await leaseUntil()) > begun + 400);
      if (dialect === 'postgres') {
        await until(async () => {
          const marks = await owner.dataSource.query(`SELECT 1 FROM idempotency_step WHERE status = 'awaited'`);
          return marks.length > 0;
        });
      }
      gates.get(request.key)!();
      const [answer, replay] = [await first, await second];
      expect([answer.status, answer.body]).toEqual([201, replay.body]);
      expect(isReplay(replay)).toBe(true);
      if (dialect === 'postgres') expect(JSON.parse(String(answer.body))).toMatchObject({ level });
      expect([runs - before, (await bookingsOf(request.key)).length]).toEqual([1, 1]);
    });

    it('is not recorded once another execution has taken over', async () => {
      const [owner, other] = apps;
      const request = { path: '/bookings/overtaken', key: randomUUID(), body: {} };
      const first = send(owner.port, request);
      await until(() => gates.has(request.key));
      const operation = 'POST /bookings/overtaken';
      const {
        id,
        owner: holder,
        token,
      } = (await other.app.get(IdempotencyService).find({ key: request.key, operation }))!;
      await other.app.get(SqlRecordStore).renew({ recordId: id, owner: holder, token }, 0);
      const second = await send(other.port, request);
      expect([second.status, isReplay(second)]).toEqual([201, false]);
      gates.get(request.key)!();
      const late = await first;
      expect([late.status, late.body, isReplay(late)]).toEqual([201, second.body, true]);
      expect(await bookingsOf(request.key)).toEqual([
        expect.objectContaining({ id: JSON.parse(String(second.body)).id }),
      ]);
    });
  },
);
