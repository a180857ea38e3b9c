import { ConfigurableModuleBuilder, Inject, Module, type OnModuleInit, Optional } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { type MeterProvider, metrics } from '@opentelemetry/api';
import { IdempotencyService } from '../../service/idempotency.service.js';
import { IdempotencyMetrics } from './metrics.js';
import { noteOnSpan } from './span-attributes.js';

/** Options of {@link IdempotencyOpenTelemetryModule}. */
export interface IdempotencyOpenTelemetryOptions {
  /** Where the instruments are made. Default: the global meter provider, as it is when the application starts. */
  readonly meterProvider?: MeterProvider;
  /** Whether there are metrics. Default: `true`. */
  readonly metrics?: boolean;
  /** Whether the active span gets attributes. Default: `true`. */
  readonly spans?: boolean;
  /**
   * How many distinct values `idempotency.endpoint` may have in metrics; further ones are counted as `_OTHER`. Default:
   * 200, which keeps the requests' counter within the 2,000 series that OpenTelemetry SDKs allow a metric.
   */
  readonly maxEndpoints?: number;
}

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<IdempotencyOpenTelemetryOptions>().setClassMethodName('forRoot').build();

/**
 * Metrics and span attributes of what happens to idempotent requests. Import it as it is, or with `forRoot({ ... })` or
 * `forRootAsync({ ... })`, beside `IdempotencyModule`.
 */
@Module({})
export class IdempotencyOpenTelemetryModule extends ConfigurableModuleClass implements OnModuleInit {
  constructor(
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
    @Optional() @Inject(MODULE_OPTIONS_TOKEN) private readonly options: IdempotencyOpenTelemetryOptions = {},
  ) {
    super();
  }

  onModuleInit(): void {
    const { meterProvider = metrics.getMeterProvider(), maxEndpoints = 200, ...on } = this.options;
    const { events$ } = this.moduleRef.get(IdempotencyService, { strict: false });
    if (on.metrics ?? true) {
      const recorder = new IdempotencyMetrics(meterProvider.getMeter('nestjs-idempotency'), maxEndpoints);
      events$.subscribe((event) => recorder.record(event));
    }
    if (on.spans ?? true) events$.subscribe(noteOnSpan);
  }
}
