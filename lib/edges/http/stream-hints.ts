import { Logger } from '@nestjs/common';

/** Warns, once for each endpoint, of a response that looks like a stream when the option `response.stream` is not set. */
export class StreamHints {
  private readonly logger = new Logger('Idempotency');
  private readonly warned = new Set<string>();

  note(endpoint: string): void {
    if (this.warned.has(endpoint)) return;
    this.warned.add(endpoint);
    this.logger.warn(
      `${endpoint}: the response is a stream, by its type or by flushHeaders(): after a second at most it passes, and is not ` +
        'replayed. Set `response: { stream: true }` to send it as it is written, or `false` to hold it until its end',
    );
  }
}
