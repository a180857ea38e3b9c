/** https://docs.nestjs.com/recipes/passport#jwt-functionality: `validate()` returns the user with `userId`. */
import { randomUUID } from 'node:crypto';
import { Body, Controller, Injectable, Post, Request, UseGuards } from '@nestjs/common';
import { JwtModule, JwtService } from '@nestjs/jwt';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import { ExtractJwt, Strategy } from 'passport-jwt';
import { application, Effects } from '../harness.js';
import { payWithToken } from '../support/tokens.js';

const secret = 'do not use this value';

interface User {
  readonly userId: number;
  readonly username: string;
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
    payWithToken('maria'),
    { name: 'without a token', request: { path: '/payments' }, status: 401, retry: 'rerun' },
  ],
});
