import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { IdempotencyService } from 'nestjs-idempotency';

/** Says what the library does. Events carry the record's id, a digest: never the key itself. */
@Injectable()
export class IdempotencyLog implements OnModuleInit {
  private readonly logger = new Logger(IdempotencyLog.name);

  constructor(private readonly idempotency: IdempotencyService) {}

  onModuleInit(): void {
    this.idempotency.events$.subscribe(({ type, endpoint, recordId }) => {
      this.logger.log(`${endpoint}, record ${recordId.slice(0, 8)}: ${type}`);
    });
  }
}
