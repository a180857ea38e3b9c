import { ConfigurableModuleBuilder, Inject, Module, type OnModuleInit, Optional } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { type MeterProvider, metrics } from '@opentelemetry/api';
import { IdempotencyService } from '../../service/idempotency.service.js';
import { metricsOf } from './metrics.js';
import { setSpanAttributes } from './span-attributes.js';

/** Options of {@link IdempotencyOpenTelemetryModule}. */
export interface IdempotencyOpenTelemetryOptions {
  /** Creates the instruments. Default: the global meter provider at the application's start. */
  readonly meterProvider?: MeterProvider;
  /** Whether to record metrics. Default: `true`. */
  readonly metrics?: boolean;
  /** Whether to set attributes of the active span. Default: `true`. */
  readonly spans?: boolean;
  /**
   * How many distinct values `idempotency.endpoint` may have in metrics. Further ones count as `_OTHER`. Default: 200, which keeps the
   * counter of requests within the 2,000 series that OpenTelemetry SDKs allow a metric.
   */
  readonly maxEndpoints?: number;
}

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<IdempotencyOpenTelemetryOptions>().setClassMethodName('forRoot').build();

/**
 * Metrics and span attributes of idempotent requests. Import it beside `IdempotencyModule`, with or without options.
 *
 * @example
 * ```ts
 * @Module({ imports: [IdempotencyModule.forRoot(), IdempotencyOpenTelemetryModule.forRoot({ maxEndpoints: 50 })] })
 * export class AppModule {}
 * ```
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
      events$.subscribe(metricsOf(meterProvider.getMeter('nestjs-idempotency'), maxEndpoints));
    }
    if (on.spans ?? true) events$.subscribe(setSpanAttributes);
  }
}
