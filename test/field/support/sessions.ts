import assert from 'node:assert/strict';
import { Body, Controller, type ExecutionContext, Get, Post, Session, type Type } from '@nestjs/common';
import { nameOf, type RawRequest } from '../../conformance/support/raw-http.js';
import { type Client, Effects, type Exchange, type Field } from '../harness.js';

interface SessionData {
  user?: string;
  views?: number;
}

/** Users log in, pay without changing the session, and view, which changes it. */
export function sessionController({ Idempotent }: Field): Type<object> {
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

    @Get('views')
    count(@Session() data: SessionData) {
      return data.views;
    }
  }
  return AppController;
}

export const userOf = (context: ExecutionContext) =>
  context.switchToHttp().getRequest<{ session: SessionData }>().session.user!;

/** Returns the cookies of a new session. */
export async function login(client: Client, user: string) {
  const { head } = await client.send({ path: '/login', body: { user } });
  const cookies = head.filter((line) => nameOf(line) === 'set-cookie').map((line) => line.split(/: |;/)[1]);
  return { Cookie: cookies.join('; ') };
}

/** A request of John, who logs in first. */
export const byJohn = (path: string) => async (client: Client) => ({ path, headers: await login(client, 'john') });

export async function checkAnotherUser(client: Client, request: RawRequest): Promise<void> {
  const maria = await client.send({ ...request, headers: await login(client, 'maria') });
  assert.equal(maria.body.toString(), '{"id":2,"of":"maria"}', 'another user with the same key');
}

const differs = { 'set-cookie:': 'the session of each application, and when it expires' };

/** The server keeps the session, and every response renews its cookie. */
export const rollingSession: readonly Exchange[] = [
  { name: 'pay', request: byJohn('/payments'), status: 201, differs, check: checkAnotherUser },
  {
    name: 'view',
    request: byJohn('/views'),
    status: 201,
    differs,
    check: async (client, { headers }) => {
      const { body } = await client.send({ method: 'GET', path: '/views', headers });
      assert.equal(body.toString(), '1', 'the session was changed once, and saved');
    },
  },
];
