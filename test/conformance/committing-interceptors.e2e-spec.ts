import { randomUUID } from 'node:crypto';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  Req,
  UseInterceptors,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { concatMap, from, lastValueFrom, tap } from 'rxjs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, type EntityManager, PrimaryGeneratedColumn, Unique } from 'typeorm';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

class TransactionInterceptor implements NestInterceptor {
  private readonly dataSource!: DataSource;
  async intercept(_context: ExecutionContext, next: CallHandler) {
    const runner = this.dataSource.createQueryRunner();
    await runner.startTransaction();
    return next.handle().pipe(concatMap((value: unknown) => runner.commitTransaction().then(() => value)));
  }
}

class TracingInterceptor implements NestInterceptor {
  private readonly tracer = { startTransaction: () => ({ end: () => undefined }) };
  intercept(_context: ExecutionContext, next: CallHandler) {
    const transaction = this.tracer.startTransaction();
    return next.handle().pipe(tap(() => transaction.end()));
  }
}

@Controller('payments')
@UseInterceptors(TracingInterceptor)
class PaymentsController {
  @Idempotent()
  @UseInterceptors(TransactionInterceptor)
  @Post()
  pay() {}

  @Idempotent()
  @Post('refunds')
  refund() {}

  @Idempotent({ audit: 'off' })
  @UseInterceptors(TransactionInterceptor)
  @Post('known')
  known() {}
}

const WARNING = 'WARN An interceptor commits what these handlers write';

/** Returns what the boot warned of. */
async function boot(platform: (typeof PLATFORMS)[number], settings: Partial<Parameters<typeof startApp>[1]> = {}) {
  const app = await startApp(platform, { controllers: [PaymentsController], options: { audit: 'warn' }, ...settings });
  await app.close();
  return app.log.lines
    .filter((line) => line.startsWith(WARNING))
    .map((line) => line.split('method: ')[1].replace(' Idempotency', ''));
}

describe.each(PLATFORMS)('an interceptor that commits, on %s', (platform) => {
  it('is named at boot, with the handlers that it covers', async () => {
    expect(await boot(platform)).toEqual(['PaymentsController.pay (TransactionInterceptor)']);
    const both = 'PaymentsController.pay (TransactionInterceptor), PaymentsController.refund (TransactionInterceptor)';
    expect(
      await boot(platform, { providers: [{ provide: APP_INTERCEPTOR, useClass: TransactionInterceptor }] }),
    ).toEqual([both]);
    const configure = (app: { useGlobalInterceptors(one: NestInterceptor): unknown }) =>
      void app.useGlobalInterceptors(new TransactionInterceptor());
    expect(await boot(platform, { configure })).toEqual([both]);
  });
});

@Entity('seat')
@Unique('one_each', ['number'], { deferrable: 'INITIALLY DEFERRED' })
class Seat {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ type: 'integer' }) number!: number;
}

interface WithManager {
  manager?: EntityManager;
}

@Injectable()
class PerRequest implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}
  intercept(context: ExecutionContext, next: CallHandler) {
    const request = context.switchToHttp().getRequest<WithManager>();
    return from(
      this.dataSource.transaction((manager) => {
        request.manager = manager;
        return lastValueFrom(next.handle());
      }),
    );
  }
}

@Controller('seats')
@UseInterceptors(PerRequest)
class SeatsController {
  @Idempotent()
  @Post()
  async book(@Req() request: WithManager) {
    await request.manager!.insert(Seat, { number: 7 });
    return 'booked';
  }
}

it('a COMMIT of an interceptor that fails leaves the key free', async () => {
  const running = await startApp('express', {
    dialect: 'postgres',
    controllers: [SeatsController],
    imports: [TypeOrmModule.forFeature([Seat])],
  });
  try {
    const seats = running.dataSource.getRepository(Seat);
    await seats.insert({ number: 7 });
    const request = { path: '/seats', key: randomUUID(), body: {} };
    expect((await send(running.port, request)).status).toBe(500);
    expect((await send(running.port, request)).status).toBe(500);
    await seats.delete({ number: 7 });
    expect((await send(running.port, request)).status).toBe(201);
    expect(await seats.countBy({ number: 7 })).toBe(1);
  } finally {
    await running.close();
  }
});
