import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Post, UseGuards, UseInterceptors } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { failureOf, Handlers, meetsTrouble, PlacedOrder, TrustingGuard } from './handlers.js';
import { retrying, TIMEOUT_MS, TimeoutInterceptor } from './timeouts-and-retries.js';
import type { Order } from './order.js';
import { write } from './transfers.controller.js';

/** Handlers that are not waited for, or are called once more when they fail. */
@Controller()
@UseGuards(TrustingGuard)
export class TimeoutsAndRetriesController extends Handlers {
  /** Decorators apply from below: the interceptor is outside of the library's own. */
  @Post('timed-out')
  @Idempotent()
  @UseInterceptors(TimeoutInterceptor)
  timedOut(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(slowed(order, execution), execution);
  }

  /** See the middleware {@link cutShort}. */
  @Post('cut-short')
  @Idempotent({ transactional: true })
  async cutShort(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    await write(execution.manager, run, 'debit');
    await sleep(slowed(order, execution).work);
    await write(execution.manager, run, 'credit');
    return run;
  }

  @Post('again-inside')
  @UseInterceptors(retrying('interceptor tried again inside'))
  @Idempotent()
  againInside(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution, async (run) => {
      await this.step(run, execution, 'reserve', () => ({ step: 'reserve' }));
      if (order.call === 1 && meetsTrouble(order, execution)) throw failureOf(run);
    });
  }

  @Post('again-outside')
  @Idempotent({ transactional: true })
  @UseInterceptors(retrying('interceptor tried again outside'))
  async againOutside(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    await write(execution.manager, run, 'debit');
    await this.step(run, execution, 'reserve', () => ({ step: 'reserve' }));
    if (order.call === 1 && meetsTrouble(order, execution)) throw failureOf(run);
    await sleep(order.work);
    await write(execution.manager, run, 'credit');
    return run;
  }
}

/** Takes longer than anyone waits, where it meets trouble. */
function slowed(order: Order, execution: Execution): Order {
  return { ...order, work: meetsTrouble(order, execution) ? 2 * TIMEOUT_MS : TIMEOUT_MS / 4 };
}
