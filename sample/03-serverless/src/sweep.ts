import { IdempotencyService } from 'nestjs-idempotency';
import { cachedApplication } from './application.js';

/** Called by the platform's scheduler, say every ten minutes: deletes what has expired. */
export async function sweep(): Promise<{ deleted: number }> {
  const app = await cachedApplication();
  return { deleted: await app.get(IdempotencyService).purgeExpired() };
}
