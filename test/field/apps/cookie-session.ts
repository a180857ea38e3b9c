/** https://github.com/expressjs/cookie-session: the session is in the cookie, which is set where it was changed. */
import assert from 'node:assert/strict';
import { Body, Controller, type ExecutionContext, Post, Session } from '@nestjs/common';
import cookieSession from 'cookie-session';
import { nameOf } from '../../conformance/support/raw-http.js';
import { application, type Client, Effects } from '../harness.js';

interface SessionData {
  user?: string;
  views?: number;
}

async function login(client: Client, user: string) {
  const { head } = await client.send({ path: '/login', body: { user } });
  const cookies = head.filter((line) => nameOf(line) === 'set-cookie').map((line) => line.split(/: |;/)[1]);
  return { Cookie: cookies.join('; ') };
}

export default application({
  name: 'cookie-session',
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

      @Post('views')
      @Idempotent()
      async view(@Session() data: SessionData) {
        data.views = (data.views ?? 0) + 1;
        return { id: await this.effects.add('viewed'), views: data.views };
      }
    }
    const scope = (context: ExecutionContext) =>
      context.switchToHttp().getRequest<{ session: SessionData }>().session.user!;
    return { controllers: [AppController], options: { scope } };
  },
  setup: (app) => app.use(cookieSession({ name: 'session', keys: ['key1', 'key2'] })),
  exchanges: [
    {
      name: 'pay',
      request: async (client) => ({ path: '/payments', headers: await login(client, 'john') }),
      status: 201,
      check: async (client, request) => {
        const maria = await client.send({ ...request, headers: await login(client, 'maria') });
        assert.equal(maria.body.toString(), '{"id":2,"of":"maria"}', 'another user with the same key');
      },
    },
    {
      name: 'view',
      request: async (client) => ({ path: '/views', headers: await login(client, 'john') }),
      status: 201,
      replayLacks: { 'set-cookie:': 'the handler changes the session, and does not run' },
    },
  ],
});
