/** https://docs.nestjs.com/security/helmet and /security/cors */
import fastifyHelmet from '@fastify/helmet';
import helmet from 'helmet';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

const headers = { Origin: 'https://shop.example' };

export default application({
  name: 'helmet',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: async (app, { adapter }) => {
    if (adapter === 'express') app.use(helmet());
    else await app.register(fastifyHelmet);
    app.enableCors({ origin: true, credentials: true, exposedHeaders: ['Idempotent-Replayed'] });
  },
  exchanges: [
    { name: 'create', request: { path: '/cats', headers }, status: 201 },
    { name: 'taken', request: { path: '/cats/taken', headers }, status: 409 },
  ],
});
