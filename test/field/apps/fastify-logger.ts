/** https://docs.nestjs.com/techniques/performance with Fastify's own logger and hooks: a replay is logged as any request. */
import { Controller, Post } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { application, Effects } from '../harness.js';

interface Line {
  readonly msg: string;
  readonly res?: { readonly statusCode: number };
}

const notes = ['incoming request', 'hook: onSend', 'hook: onResponse 201', 'request completed 201'];

export default application({
  name: "Fastify's logger and hooks",
  adapters: ['fastify'],
  build: ({ Idempotent, note }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }
    }
    const write = (text: string) => {
      const { msg, res } = JSON.parse(text) as Line;
      if (/request/.test(msg)) note([msg, res?.statusCode].filter(Boolean).join(' '));
    };
    return { controllers: [CatsController], httpAdapter: new FastifyAdapter({ logger: { stream: { write } } }) };
  },
  setup: (app, { note }) => {
    const fastify = app.getHttpAdapter().getInstance();
    fastify.addHook('onSend', (_request, _reply, _payload, done) => {
      note('hook: onSend');
      done();
    });
    fastify.addHook('onResponse', (_request, reply, done) => {
      note(`hook: onResponse ${reply.statusCode}`);
      done();
    });
  },
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 201, notes }],
});
