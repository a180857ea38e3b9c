/** https://docs.nestjs.com/security/rate-limiting: the guard counts replays too, and its headers are those of the present request. */
import { APP_GUARD } from '@nestjs/core';
import { ThrottlerGuard, ThrottlerModule } from '@nestjs/throttler';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';
import { rateLimited } from '../support/rate-limit.js';

export default application({
  name: '@nestjs/throttler',
  build: (field) => ({
    imports: [ThrottlerModule.forRoot({ throttlers: [{ ttl: 60_000, limit: 100 }] })],
    controllers: [catsController(field)],
    // Callers are anonymous here: without this, a guard that names no user logs a warning.
    options: { scope: () => 'anonymous' },
    providers: [{ provide: APP_GUARD, useClass: ThrottlerGuard }],
  }),
  exchanges: [rateLimited],
});
