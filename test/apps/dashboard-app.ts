import { Body, type CanActivate, Controller, type INestApplication, Injectable, Module, Post } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { IdempotencyDashboardModule } from '../../lib/dashboard/index.js';
import { type Execution, Idempotent, IdempotencyModule, IdempotentExecution } from '../../lib/index.js';
import { IdempotencyFaults, IdempotencyFaultsModule } from '../../lib/testing/index.js';

/** Where in a payment a process of these tests dies: the card is charged, and no record says so. */
export const AFTER_CHARGE = 'after the charge';

export const PREFIX = 'ops';

/** Whether the guard lets operators in: a session may end while a page is open. */
export const guarded = { isOpen: true };

@Injectable()
class OperatorGuard implements CanActivate {
  canActivate() {
    return guarded.isOpen;
  }
}

@Controller('payments')
class PaymentsController {
  constructor(private readonly faults: IdempotencyFaults) {}

  @Post()
  @Idempotent({ afterCrash: 'hold', lease: '300ms', request: { redact: ['/card'] } })
  async pay(@Body() { amount }: { amount: number }, @IdempotentExecution() execution: Execution) {
    await execution.step('reserve', () => ({ reservation: 'rs_7' }));
    const charge = await execution.step('charge', async () => {
      await this.faults.reach(AFTER_CHARGE);
      return { id: `ch_${amount}` };
    });
    return { id: `pay_${amount}`, charge: charge.id };
  }
}

export interface DashboardApp {
  readonly app: INestApplication;
  readonly faults: IdempotencyFaults;
  readonly origin: string;
  /** Of the page: the server redirects to its file. */
  readonly page: string;
}

/** A shop with the operators' page behind a prefix. */
export async function startDashboardApp(
  database: object,
  { actions, platform, port = 0 }: { actions: boolean; platform: 'express' | 'fastify'; port?: number },
): Promise<DashboardApp> {
  @Module({
    imports: [
      TypeOrmModule.forRoot({
        ...database,
        autoLoadEntities: true,
        synchronize: true,
        retryAttempts: 0,
      } as TypeOrmModuleOptions),
      IdempotencyModule.forRoot({ audit: 'off', sweep: false }),
      IdempotencyDashboardModule.forRoot({ path: 'idempotency', guards: [OperatorGuard], actions }),
      IdempotencyFaultsModule,
    ],
    controllers: [PaymentsController],
  })
  class App {}
  const testing = await Test.createTestingModule({ imports: [App] }).compile();
  const app: INestApplication =
    platform === 'fastify'
      ? testing.createNestApplication(new FastifyAdapter(), { logger: false })
      : testing.createNestApplication({ logger: false });
  app.setGlobalPrefix(PREFIX);
  await app.listen(port, '127.0.0.1');
  const origin = await app.getUrl();
  return { app, origin, faults: app.get(IdempotencyFaults), page: `${origin}/${PREFIX}/idempotency` };
}
