/** https://docs.nestjs.com/techniques/session#use-with-fastify: the session is in the cookie, renewed by `touch()`. */
import secureSession, { type Session as SecureSession } from '@fastify/secure-session';
import { Body, Controller, type ExecutionContext, Post, Session } from '@nestjs/common';
import { application, Effects } from '../harness.js';
import { byJohn } from '../support/sessions.js';

type SessionData = SecureSession<{ user: string }>;

export default application({
  name: '@fastify/secure-session',
  adapters: ['fastify'],
  build: ({ Idempotent }) => {
    @Controller()
    class AppController {
      constructor(private readonly effects: Effects) {}

      @Post('login')
      login(@Session() session: SessionData, @Body() { user }: { user: string }) {
        session.set('user', user);
      }

      @Post('payments')
      @Idempotent()
      async pay(@Session() session: SessionData) {
        return { id: await this.effects.add(), of: session.get('user') };
      }
    }
    const scope = (context: ExecutionContext) =>
      context.switchToHttp().getRequest<{ session: SessionData }>().session.get('user')!;
    return { controllers: [AppController], options: { scope } };
  },
  setup: async (app) => {
    await app.register(secureSession, {
      secret: 'averylogphrasebiggerthanthirtytwochars',
      salt: 'mq9hDxBVDbspDR6n',
    });
    const fastify = app.getHttpAdapter().getInstance();
    fastify.addHook('preHandler', (request, _reply, done) => {
      request.session.touch();
      done();
    });
  },
  exchanges: [
    {
      name: 'pay',
      request: byJohn('/payments'),
      status: 201,
      differs: { 'set-cookie:': 'encrypted with another nonce each time' },
    },
  ],
});
