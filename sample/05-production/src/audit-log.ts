import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { IdempotencyService } from 'nestjs-idempotency';

/** What an operator looks for in the logs, by `recordId`. Keys are not logged. */
const NOTED = new Set(['takenOver', 'held', 'leaseLost', 'unrecorded', 'mismatch']);

@Injectable()
export class AuditLog implements OnModuleInit {
  private readonly logger = new Logger('AuditLog');

  constructor(private readonly idempotency: IdempotencyService) {}

  onModuleInit(): void {
    this.idempotency.events$.subscribe(({ type, endpoint, recordId }) => {
      if (NOTED.has(type)) this.logger.warn({ msg: type, operation: endpoint, recordId });
    });
  }
}
