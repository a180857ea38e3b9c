// @ts-nocheck
import { IdempotencyConfig, makeIdempotent } from '@aws-lambda-powertools/idempotency';
import { CachePersistenceLayer } from '@aws-lambda-powertools/idempotency/cache';
import { createClient } from '@redis/client';
import { redisUrl, serve } from './serve.mjs';

process.env.AWS_LAMBDA_FUNCTION_NAME ??= 'bench';
const config = new IdempotencyConfig({ eventKeyJmesPath: 'key' });
config.registerLambdaContext({ getRemainingTimeInMillis: () => 30_000 });
const client = await createClient({ url: redisUrl }).connect();
const run = makeIdempotent(() => Promise.resolve({ status: 'done' }), {
  persistenceStore: new CachePersistenceLayer({ client }),
  config,
});

await serve({ handle: (request) => run({ key: request.headers['idempotency-key'] }) });
