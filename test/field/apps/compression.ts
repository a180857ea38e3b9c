/** https://docs.nestjs.com/techniques/compression */
import compress from '@fastify/compress';
import compression from 'compression';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

export default application({
  name: 'compression',
  build: (field) => ({ controllers: [catsController(field, { text: 'miaow '.repeat(1_000) })] }),
  setup: async (app, { adapter }) => {
    if (adapter === 'express') app.use(compression());
    else await app.register(compress, { global: true });
  },
  exchanges: ['gzip', 'br', 'identity'].map((coding) => ({
    name: coding,
    request: { path: '/cats', headers: { 'Accept-Encoding': coding } },
    status: 201,
  })),
});
