/** https://github.com/fastify/fastify-etag */
import etag from '@fastify/etag';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

export default application({
  name: '@fastify/etag',
  adapters: ['fastify'],
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app) => app.register(etag),
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201 },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409 },
  ],
});
