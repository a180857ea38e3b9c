import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { IdempotencyProblem, IdempotencyService } from 'nestjs-idempotency';
import { Invoice } from './invoice.entity.js';
import type { Job } from './queue.js';

@Injectable()
export class InvoicesConsumer {
  private readonly logger = new Logger('Invoices');
  private readonly failed = new Set<string>();

  constructor(private readonly idempotency: IdempotencyService) {}

  /** Throws where the job has to be delivered again. The invoice and the outcome commit together. */
  async consume({ id, data }: Job): Promise<void> {
    try {
      await this.idempotency.run(
        { key: id, operation: 'invoice', input: data, transactional: true },
        async (execution) => {
          this.logger.log(`${data.order}: attempt ${execution.attempt}`);
          const invoice = { id: execution.deriveKey('invoice'), ...data };
          await execution.manager.insert(Invoice, invoice);
          await this.mishap(data.order);
          return invoice;
        },
      );
      this.logger.log(`${data.order}: done`);
    } catch (error) {
      this.logger.warn(`${data.order}: ${(error as Error).message}`);
      // Somebody else has it, or it failed: again later. What can never succeed is not worth another delivery.
      if (!(error instanceof IdempotencyProblem) || error.retryable) throw error;
    }
  }

  /** For the demonstration: one order is slow, and one fails the first time, after its invoice was written. */
  private async mishap(order: string): Promise<void> {
    if (order === 'slow') await sleep(500);
    if (order === 'fails' && !this.failed.has(order)) {
      this.failed.add(order);
      throw new Error('the printer is on fire');
    }
  }
}
