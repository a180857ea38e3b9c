import { Logger } from '@nestjs/common';

/** Logs a warning once for each endpoint, because every request would repeat it. */
export class EndpointWarnings {
  private readonly logger = new Logger('Idempotency');
  private readonly warned = new Set<string>();

  has(endpoint: string): boolean {
    return this.warned.has(endpoint);
  }

  warn(endpoint: string, warning: string): void {
    if (this.has(endpoint)) return;
    this.warned.add(endpoint);
    this.logger.warn(`${endpoint}: ${warning}`);
  }
}
