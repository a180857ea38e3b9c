/** https://docs.nestjs.com/techniques/session, with `rolling`: the cookie is set again with every response. */
import session from 'express-session';
import { application } from '../harness.js';
import { rollingSession, sessionController, userOf } from '../support/sessions.js';

export default application({
  name: 'express-session',
  adapters: ['express'],
  build: (field) => ({ controllers: [sessionController(field)], options: { scope: userOf } }),
  setup: (app) =>
    app.use(
      session({
        secret: 'my-secret',
        resave: false,
        saveUninitialized: false,
        rolling: true,
        cookie: { maxAge: 60_000 },
      }),
    ),
  exchanges: rollingSession,
});
