/** https://github.com/fastify/session: `rolling` by default, so that every response renews the cookie. */
import assert from 'node:assert/strict';
import cookie from '@fastify/cookie';
import fastifySession from '@fastify/session';
import { Body, Controller, type ExecutionContext, Get, Post, Session } from '@nestjs/common';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application, type Client, Effects } from '../harness.js';

interface SessionData {
  user?: string;
  payments?: number;
}

async function login(client: Client, user: string) {
  const { head } = await client.send({ path: '/login', body: { user } });
  return { Cookie: valueOf(head, 'set-cookie')!.split(';')[0] };
}

export default application({
  name: '@fastify/session',
  adapters: ['fastify'],
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
        data.payments = (data.payments ?? 0) + 1;
        return { id: await this.effects.add(), of: data.user };
      }

      @Get('payments')
      count(@Session() data: SessionData) {
        return data.payments;
      }
    }
    const scope = (context: ExecutionContext) =>
      context.switchToHttp().getRequest<{ session: SessionData }>().session.user!;
    return { controllers: [AppController], options: { scope } };
  },
  setup: async (app) => {
    await app.register(cookie);
    await app.register(fastifySession, {
      secret: 'a secret with minimum length of 32 characters',
      cookie: { secure: false, maxAge: 60_000 },
    });
  },
  exchanges: [
    {
      name: 'pay',
      request: async (client) => ({ path: '/payments', headers: await login(client, 'john') }),
      status: 201,
      differs: { 'set-cookie:': 'the session of each application, and when it expires' },
      check: async (client, request) => {
        const { body } = await client.send({ method: 'GET', path: '/payments', headers: request.headers });
        assert.equal(body.toString(), '1', 'the session was changed once, and saved');
      },
    },
  ],
});
