/** https://docs.nestjs.com/techniques/session, where the option `credentials` names the session's cookie. */
import assert from 'node:assert/strict';
import { Body, Controller, Post, Session } from '@nestjs/common';
import session from 'express-session';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application, type Client, Effects } from '../harness.js';

interface SessionData {
  user?: string;
}

async function login(client: Client, user: string) {
  const { head } = await client.send({ path: '/login', body: { user } });
  return { Cookie: valueOf(head, 'set-cookie')!.split(';')[0] };
}

export default application({
  name: "a session's cookie as credential",
  adapters: ['express'],
  build: ({ Idempotent }) => {
    @Controller()
    class AppController {
      constructor(private readonly effects: Effects) {}

      @Post('login')
      login(@Session() data: SessionData, @Body() { user }: { user: string }) {
        data.user = user;
      }

      @Post('payments')
      @Idempotent()
      async pay(@Session() data: SessionData) {
        return { id: await this.effects.add(), of: data.user };
      }
    }
    return { controllers: [AppController], options: { credentials: { cookies: ['connect.sid'] } } };
  },
  setup: (app) => app.use(session({ secret: 'my-secret', resave: false, saveUninitialized: false })),
  exchanges: [
    {
      name: 'pay',
      request: async (client) => ({ path: '/payments', headers: await login(client, 'john') }),
      status: 201,
      check: async (client, request) => {
        const maria = await client.send({ ...request, headers: await login(client, 'maria') });
        assert.deepEqual([maria.status, (await client.effects()).length], [422, 1], 'another session, the same key');
      },
    },
  ],
});
