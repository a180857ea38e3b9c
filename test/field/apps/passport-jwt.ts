/** https://docs.nestjs.com/recipes/passport#jwt-functionality: `validate()` returns the user with `userId`. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Body, Controller, Injectable, Post, Request, UseGuards } from '@nestjs/common';
import { JwtModule, JwtService } from '@nestjs/jwt';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import { ExtractJwt, Strategy } from 'passport-jwt';
import { valueOf } from '../../conformance/support/raw-http.js';
import { application, type Client, Effects } from '../harness.js';

const secret = 'do not use this value';

interface User {
  readonly userId: number;
  readonly username: string;
}

async function login(client: Client, username: string) {
  const { body } = await client.send({ path: '/auth/login', body: { username } });
  return { Authorization: `Bearer ${(JSON.parse(body.toString()) as { access_token: string }).access_token}` };
}

export default application({
  name: 'passport-jwt',
  build: ({ Idempotent }) => {
    @Injectable()
    class JwtStrategy extends PassportStrategy(Strategy) {
      constructor() {
        super({
          jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
          ignoreExpiration: false,
          secretOrKey: secret,
        });
      }

      validate(payload: { sub: number; username: string }): User {
        return { userId: payload.sub, username: payload.username };
      }
    }

    @Controller()
    class AppController {
      constructor(
        private readonly jwt: JwtService,
        private readonly effects: Effects,
      ) {}

      @Post('auth/login')
      async login(@Body() { username }: { username: string }) {
        const payload = { username, sub: username.length };
        return { access_token: await this.jwt.signAsync(payload, { jwtid: randomUUID() }) };
      }

      @UseGuards(AuthGuard('jwt'))
      @Post('payments')
      @Idempotent()
      async pay(@Request() request: { user: User }) {
        return { id: await this.effects.add(), of: request.user.username };
      }
    }
    return {
      imports: [PassportModule, JwtModule.register({ secret, signOptions: { expiresIn: '60s' } })],
      controllers: [AppController],
      providers: [JwtStrategy],
    };
  },
  exchanges: [
    {
      name: 'pay',
      request: async (client) => ({ path: '/payments', headers: await login(client, 'john') }),
      status: 201,
      check: async (client, request, { first }) => {
        const renewed = await client.send({ ...request, headers: await login(client, 'john') });
        assert.equal(renewed.body.toString(), first.body.toString(), 'a renewed token is the same user');
        assert.equal(valueOf(renewed.head, 'idempotent-replayed'), 'true');
        const maria = await client.send({ ...request, headers: await login(client, 'maria') });
        assert.equal(maria.body.toString(), '{"id":2,"of":"maria"}', 'another user with the same key');
      },
    },
    { name: 'without a token', request: { path: '/payments' }, status: 401, retry: 'rerun' },
  ],
});
