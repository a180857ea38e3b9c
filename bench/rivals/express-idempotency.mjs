// @ts-nocheck
import { getSharedIdempotencyService, idempotency } from 'express-idempotency';
import adapters from 'express-idempotency-redis-adapter';
import { redisUrl, serve } from './serve.mjs';

const RedisAdapter = adapters.default ?? adapters;
const dataAdapter = new RedisAdapter({ connectionConfig: { url: redisUrl } });
await dataAdapter.connect();

await serve({
  middleware: idempotency({ dataAdapter }),
  handle: (request) => (getSharedIdempotencyService().isHit(request) ? undefined : { status: 'done' }),
});
