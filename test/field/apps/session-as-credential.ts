/** https://docs.nestjs.com/techniques/session, where the option `credentials` names the session's cookie. */
import assert from 'node:assert/strict';
import session from 'express-session';
import { application } from '../harness.js';
import { byJohn, login, sessionController } from '../support/sessions.js';

export default application({
  name: "a session's cookie as credential",
  adapters: ['express'],
  build: (field) => ({
    controllers: [sessionController(field)],
    options: { credentials: { cookies: ['connect.sid'] } },
  }),
  setup: (app) => app.use(session({ secret: 'my-secret', resave: false, saveUninitialized: false })),
  exchanges: [
    {
      name: 'pay',
      request: byJohn('/payments'),
      status: 201,
      check: async (client, request) => {
        const maria = await client.send({ ...request, headers: await login(client, 'maria') });
        assert.deepEqual([maria.status, (await client.effects()).length], [422, 1], 'another session, the same key');
      },
    },
  ],
});
