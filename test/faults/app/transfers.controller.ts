import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Post, UseGuards } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { DEADLOCKS, provokeDeadlock } from './deadlock.js';
import { EffectRow } from './effect-row.js';
import { failureOf, Handlers, meetsTrouble, PlacedOrder, TOO_LARGE, type Run, TrustingGuard } from './handlers.js';
import type { Order } from './order.js';

const NO_ACCOUNT = -1;

/** Handlers in transactions. */
@Controller()
@UseGuards(TrustingGuard)
export class TransfersController extends Handlers {
  @Post('transactional')
  @Idempotent({ transactional: true })
  async transactional(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    await sleep(order.work / 2);
    await this.faults.reach('before effect');
    await write(execution.manager, run, 'row');
    await this.faults.reach('after effect');
    await sleep(order.work / 2);
    return run;
  }

  @Post('transfer')
  @Idempotent({ transactional: true })
  async transfer(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    const key = execution.deriveKey('charge');
    await write(execution.manager, run, 'debit');
    await this.faults.reach('before effect');
    const charge = await this.step(
      run,
      execution,
      'charge',
      () => this.provider.charge(key, order.op),
      () => this.provider.find(key),
    );
    await this.faults.reach('after effect');
    if (meetsTrouble(order, execution)) throw failureOf(run);
    await sleep(order.work);
    await write(execution.manager, run, 'credit');
    const mail = await this.step(run, execution, 'mail', () => ({ id: randomUUID() }));
    return { ...run, ids: [charge.id, mail.id] };
  }

  @Post('mixed')
  @Idempotent({ transactional: true })
  async mixed(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    this.met(run, 'step wrote in the transaction');
    await this.step(run, execution, 'debit', async () => {
      await write(execution.manager, run, 'debit');
      return {};
    });
    await sleep(order.work);
    await write(execution.manager, run, 'credit');
    if (meetsTrouble(order, execution)) throw failureOf(run);
    return run;
  }

  @Post('caught')
  @Idempotent({ transactional: true })
  async caught(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const { manager } = execution;
    const run = this.begin(order, execution);
    const debit = await write(manager, run, 'debit');
    if (!order.goesOn) await write(manager, run, 'credit');
    await manager.insert(EffectRow, debit).catch(unless('23505', 'ER_DUP_ENTRY'));
    this.met(run, 'unique violation caught');
    await sleep(order.work);
    if (order.goesOn) await write(manager, run, 'credit');
    return run;
  }

  @Post('deadlock')
  @Idempotent({ transactional: true })
  async deadlock(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const { manager } = execution;
    const run = this.begin(order, execution);
    await write(manager, run, 'debit');
    if (meetsTrouble(order, execution)) {
      const statement = await provokeDeadlock(manager, this.dataSource);
      await manager.query(statement).catch(async (error: unknown) => {
        unless(...DEADLOCKS)(error);
        this.met(run, 'deadlock caught');
        await manager.query(statement);
      });
    }
    await sleep(order.work);
    await write(manager, run, 'credit');
    return run;
  }

  @Post('deferred')
  @Idempotent({ transactional: true })
  async deferred(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const { manager } = execution;
    const run = this.begin(order, execution);
    await write(manager, run, 'debit');
    const trouble = meetsTrouble(order, execution);
    if (trouble) await manager.query(`INSERT INTO lab_posting VALUES (${NO_ACCOUNT})`);
    await sleep(order.work);
    await write(manager, run, 'credit');
    if (trouble) this.met(run, 'COMMIT refused');
    return run;
  }

  @Post('large-transfer')
  @Idempotent({ transactional: true })
  async largeTransfer(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    await write(execution.manager, run, 'debit');
    await sleep(order.work);
    await write(execution.manager, run, 'credit');
    if (!meetsTrouble(order, execution)) return run;
    this.met(run, 'completion refused');
    return { ...run, pad: TOO_LARGE };
  }
}

export async function write(manager: EntityManager, run: Run, part: string): Promise<EffectRow> {
  const { op, token, attempt } = run;
  const row = { id: randomUUID(), op, part, run: run.id, token, attempt };
  await manager.insert(EffectRow, row);
  return row;
}

/** Throws again what is not one of these errors. */
function unless(...codes: string[]) {
  return (error: unknown): void => {
    if (!codes.includes((error as { code?: string }).code ?? '')) throw error;
  };
}
