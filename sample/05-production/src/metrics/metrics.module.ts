import {
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { IdempotencyOpenTelemetryModule } from 'nestjs-idempotency/opentelemetry';
import { RecordMetrics } from './record-metrics.js';
import { RequestMetrics } from './request-metrics.middleware.js';
import { exporter, meterProvider } from './telemetry.js';

@Module({
  imports: [IdempotencyOpenTelemetryModule.forRoot({ meterProvider })],
  providers: [RecordMetrics],
})
export class MetricsModule implements NestModule, OnModuleInit, OnApplicationShutdown {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(RequestMetrics).forRoutes('{*path}');
  }

  onModuleInit(): Promise<void> {
    return exporter.startServer();
  }

  onApplicationShutdown(): Promise<void> {
    return meterProvider.shutdown();
  }
}
