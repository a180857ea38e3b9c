import { Logger } from '@nestjs/common';

/** Says, once for each endpoint, what becomes of a response that is a stream, where the option `response.stream` does not decide. */
export class StreamHints {
  private readonly logger = new Logger('Idempotency');
  private readonly told = new Set<string>();

  note(endpoint: string): void {
    if (this.told.has(endpoint)) return;
    this.told.add(endpoint);
    this.logger.warn(
      `${endpoint}: the response is a stream, by its type or by flushHeaders(): after a second at most it passes, and is not ` +
        'replayed. Set `response: { stream: true }` to send it as it is written, or `false` to hold it until its end',
    );
  }
}
