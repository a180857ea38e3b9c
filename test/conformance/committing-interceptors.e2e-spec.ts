import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  type NestInterceptor,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { concatMap, from, lastValueFrom, tap } from 'rxjs';
import type { DataSource } from 'typeorm';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, startApp } from './support/app.js';

class TransactionInterceptor implements NestInterceptor {
  private readonly dataSource!: DataSource;
  async intercept(_context: ExecutionContext, next: CallHandler) {
    const runner = this.dataSource.createQueryRunner();
    await runner.startTransaction();
    return next.handle().pipe(concatMap((value: unknown) => runner.commitTransaction().then(() => value)));
  }
}

/** By a helper, whatever the application calls it. */
class HelpedInterceptor implements NestInterceptor {
  private readonly database!: { runInTransaction(work: () => Promise<unknown>): Promise<unknown> };
  intercept(_context: ExecutionContext, next: CallHandler) {
    return from(this.database.runInTransaction(() => lastValueFrom(next.handle())));
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

  @Idempotent()
  @UseInterceptors(HelpedInterceptor)
  @Post('payouts')
  payOut() {}

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
    expect(await boot(platform)).toEqual([
      'PaymentsController.pay (TransactionInterceptor), PaymentsController.payOut (HelpedInterceptor)',
    ]);
    const both =
      'PaymentsController.pay (TransactionInterceptor), PaymentsController.refund (TransactionInterceptor), ' +
      'PaymentsController.payOut (TransactionInterceptor, HelpedInterceptor)';
    expect(
      await boot(platform, { providers: [{ provide: APP_INTERCEPTOR, useClass: TransactionInterceptor }] }),
    ).toEqual([both]);
    const configure = (app: { useGlobalInterceptors(one: NestInterceptor): unknown }) =>
      void app.useGlobalInterceptors(new TransactionInterceptor());
    expect(await boot(platform, { configure })).toEqual([both]);
  });
});
