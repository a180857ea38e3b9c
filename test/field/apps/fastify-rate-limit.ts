/** https://github.com/fastify/fastify-rate-limit: a replay counts as a request, and says what is left now. */
import rateLimit from '@fastify/rate-limit';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';
import { rateLimited } from '../support/rate-limit.js';

export default application({
  name: '@fastify/rate-limit',
  adapters: ['fastify'],
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app) => app.register(rateLimit, { max: 100, timeWindow: '1 minute' }),
  exchanges: [rateLimited],
});
