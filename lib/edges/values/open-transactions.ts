import { EndpointWarnings } from '../shared/endpoint-warnings.js';

const BEGUN_BY = {
  interceptor:
    'the handler has written in a transaction that an interceptor has begun, and that is still open. The outcome is on record before ' +
    'its COMMIT, and if that fails, the effect is lost: a retry gets the outcome, and does not run. Write @UseInterceptors() with that ' +
    'interceptor above @Idempotent(), which makes it the inner one, and have it wait for COMMIT; or set `transactional`',
  caller:
    'the handler of run() has written in a transaction that its caller has begun. The outcome is on record before its COMMIT, and if ' +
    'that fails, the effect is lost: a retry gets the outcome, and does not run. Begin the transaction in the handler, or set ' +
    '`transactional`',
};

/** Warns, once for each operation, of handlers whose writes are not committed when their outcome is recorded. */
export class OpenTransactions {
  private readonly warnings = new EndpointWarnings();

  /** @param begunBy what begins such a transaction */
  constructor(private readonly begunBy: keyof typeof BEGUN_BY) {}

  warn(endpoint: string): void {
    this.warnings.warn(endpoint, BEGUN_BY[this.begunBy]);
  }
}
