import { Injectable, type NestMiddleware } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { meterProvider } from './telemetry.js';

/** Named and bounded by OpenTelemetry's conventions for HTTP. */
const duration = meterProvider.getMeter('payments').createHistogram('http.server.request.duration', {
  description: 'Duration of HTTP server requests.',
  unit: 's',
  advice: { explicitBucketBoundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] },
});

@Injectable()
export class RequestMetrics implements NestMiddleware {
  use(request: Request, response: Response, next: NextFunction): void {
    const startedAt = performance.now();
    response.once('close', () => {
      duration.record((performance.now() - startedAt) / 1_000, {
        'http.request.method': request.method,
        // The template: a path has as many values as there are orders.
        'http.route': (request.route as { path: string } | undefined)?.path ?? 'none',
        'http.response.status_code': response.statusCode,
      });
    });
    next();
  }
}
