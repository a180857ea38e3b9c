/** https://docs.nestjs.com/techniques/cookies: cookie-parser, @fastify/cookie, and a session's cookie that is renewed with every response. */
import cookie from '@fastify/cookie';
import { Controller, Post, Req, Res } from '@nestjs/common';
import cookieParser from 'cookie-parser';
import { application, Effects } from '../harness.js';

interface Response {
  cookie(name: string, value: string): void;
  setCookie(name: string, value: string): void;
}

const request = { path: '/cats', headers: { Cookie: 'theme=dark' } };

export default application({
  name: 'cookie-parser and @fastify/cookie',
  build: ({ Idempotent, adapter }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create(@Req() { cookies }: { cookies: { theme: string } }) {
        return { id: await this.effects.add(), theme: cookies.theme };
      }

      @Post('cookie')
      @Idempotent()
      async cookie(@Res({ passthrough: true }) response: Response) {
        response[adapter === 'express' ? 'cookie' : 'setCookie']('last', 'cat');
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [CatsController], options: { scope: () => 'everyone' } };
  },
  setup: async (app, { adapter }) => {
    if (adapter === 'express') {
      app.use(cookieParser());
      app.use((_request: unknown, response: Response, next: () => void) => (response.cookie('seen', 'now'), next()));
    } else {
      await app.register(cookie, { secret: 'my-secret' });
      const fastify = app.getHttpAdapter().getInstance();
      fastify.addHook('onSend', (_request, reply, _payload, done) => {
        void reply.setCookie('seen', 'now');
        done();
      });
    }
  },
  exchanges: [
    { name: 'create', request, status: 201 },
    {
      name: 'cookie',
      request: { ...request, path: '/cats/cookie' },
      status: 201,
      replayLacks: { 'set-cookie: last=': 'the handler sets it, and does not run' },
    },
  ],
});
