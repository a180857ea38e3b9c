/** https://github.com/fastify/session: `rolling` by default, so that every response renews the cookie. */
import cookie from '@fastify/cookie';
import fastifySession from '@fastify/session';
import { application } from '../harness.js';
import { rollingSession, sessionController, userOf } from '../support/sessions.js';

export default application({
  name: '@fastify/session',
  adapters: ['fastify'],
  build: (field) => ({ controllers: [sessionController(field)], options: { scope: userOf } }),
  setup: async (app) => {
    await app.register(cookie);
    await app.register(fastifySession, {
      secret: 'a secret with minimum length of 32 characters',
      cookie: { secure: false, maxAge: 60_000 },
    });
  },
  exchanges: rollingSession,
});
