import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { IdempotencyService, type RecordStats } from 'nestjs-idempotency';
import { config } from '../config.js';
import { meterProvider } from './telemetry.js';

const PERIOD_MS = config.IDEMPOTENCY_STATS_SECONDS * 1_000;

const meter = meterProvider.getMeter('payments');
const records = meter.createGauge('payments.idempotency.records', {
  description: 'Records in the database, by status.',
  unit: '{record}',
});
const abandoned = meter.createGauge('payments.idempotency.abandoned', {
  description: 'Records whose instance died, and for which no client has come back.',
  unit: '{record}',
});
const expired = meter.createGauge('payments.idempotency.expired', {
  description: 'Records that are past their retention and not yet deleted.',
  unit: '{record}',
});
const oldestHeld = meter.createGauge('payments.idempotency.oldest_held', {
  description: 'How long ago the longest held record was asked for.',
  unit: 's',
});

/**
 * What the library's counters do not show: a record whose client never came back is held, and no request says so. Counting
 * reads the whole table, so one instance does it for all of them in each period, as an idempotent operation of its own.
 */
@Injectable()
export class RecordMetrics implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger('RecordMetrics');
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly idempotency: IdempotencyService) {}

  onApplicationBootstrap(): void {
    const measure = () => {
      this.measure().catch((error: Error) => this.logger.warn(`Records were not counted: ${error.message}`));
    };
    this.timer = setInterval(measure, PERIOD_MS).unref();
    measure();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  private async measure(): Promise<void> {
    const key = String(Math.floor(Date.now() / PERIOD_MS));
    show(
      await this.idempotency.run({ key, operation: 'count-records', onConflict: 'wait', retention: '1h' }, () =>
        this.idempotency.stats(),
      ),
    );
  }
}

function show(stats: RecordStats): void {
  for (const [status, count] of Object.entries(stats.byStatus)) records.record(count, { status });
  abandoned.record(stats.abandoned);
  expired.record(stats.expired);
  oldestHeld.record(stats.oldestHeld ? (Date.now() - stats.oldestHeld.getTime()) / 1_000 : 0);
}
