/** https://github.com/expressjs/cookie-session: the session is in the cookie, which is set where it was changed. */
import cookieSession from 'cookie-session';
import { application } from '../harness.js';
import { byJohn, checkAnotherUser, sessionController, userOf } from '../support/sessions.js';

export default application({
  name: 'cookie-session',
  adapters: ['express'],
  build: (field) => ({ controllers: [sessionController(field)], options: { scope: userOf } }),
  setup: (app) => app.use(cookieSession({ name: 'session', keys: ['key1', 'key2'] })),
  exchanges: [
    { name: 'pay', request: byJohn('/payments'), status: 201, check: checkAnotherUser },
    {
      name: 'view',
      request: byJohn('/views'),
      status: 201,
      replayLacks: { 'set-cookie:': 'the handler changes the session, and does not run' },
    },
  ],
});
