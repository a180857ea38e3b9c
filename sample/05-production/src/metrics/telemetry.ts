import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { config } from '../config.js';

/** Serves `/metrics` on a port of its own, which has no authentication and does not go to the internet. */
export const exporter = new PrometheusExporter({ port: config.METRICS_PORT, preventServerStart: true });

export const meterProvider = new MeterProvider({ readers: [exporter] });
