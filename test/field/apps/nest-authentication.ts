/** https://docs.nestjs.com/security/authentication: the guard sets `request['user'] = payload`, with `sub`. */
import { randomUUID } from 'node:crypto';
import {
  Body,
  type CanActivate,
  Controller,
  type ExecutionContext,
  HttpCode,
  HttpStatus,
  Injectable,
  Post,
  Request,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { JwtModule, JwtService } from '@nestjs/jwt';
import { application, Effects } from '../harness.js';
import { payWithToken } from '../support/tokens.js';

interface Payload {
  readonly sub: number;
  readonly username: string;
}

interface AuthorizedRequest {
  headers: { authorization?: string };
  user?: Payload;
}

export default application({
  name: "Nest's own authentication",
  build: ({ Idempotent }) => {
    @Injectable()
    class AuthGuard implements CanActivate {
      constructor(private readonly jwtService: JwtService) {}

      async canActivate(context: ExecutionContext): Promise<boolean> {
        const request = context.switchToHttp().getRequest<AuthorizedRequest>();
        const [type, token] = request.headers.authorization?.split(' ') ?? [];
        if (type !== 'Bearer' || !token) throw new UnauthorizedException();
        try {
          request.user = await this.jwtService.verifyAsync<Payload>(token);
        } catch {
          throw new UnauthorizedException();
        }
        return true;
      }
    }

    @Controller()
    class AppController {
      constructor(
        private readonly jwtService: JwtService,
        private readonly effects: Effects,
      ) {}

      @HttpCode(HttpStatus.OK)
      @Post('auth/login')
      async signIn(@Body() { username }: { username: string }) {
        const payload = { sub: username.length, username };
        return { access_token: await this.jwtService.signAsync(payload, { jwtid: randomUUID() }) };
      }

      @UseGuards(AuthGuard)
      @Post('payments')
      @Idempotent()
      async pay(@Request() request: AuthorizedRequest) {
        return { id: await this.effects.add(), of: request.user!.sub };
      }
    }
    return {
      imports: [JwtModule.register({ global: true, secret: 'secret', signOptions: { expiresIn: '60s' } })],
      controllers: [AppController],
    };
  },
  exchanges: [
    payWithToken(5),
    {
      name: 'with a token that is none',
      request: { path: '/payments', headers: { Authorization: 'Bearer forged' } },
      status: 401,
      retry: 'rerun',
    },
  ],
});
