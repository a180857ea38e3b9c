// @ts-nocheck
import { Idempotent, NodeIdempotencyModule } from '@node-idempotency/nestjs';
import { redisUrl, serve } from './serve.mjs';

await serve({
  imports: [NodeIdempotencyModule.forRootAsync({ storage: { adapter: 'redis', options: { url: redisUrl } } })],
  decorators: [Idempotent()],
});
