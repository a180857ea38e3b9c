/** https://docs.nestjs.com/techniques/performance with Fastify's own logger and hooks: a replay is logged as any request. */
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

interface Line {
  readonly msg: string;
  readonly res?: { readonly statusCode: number };
}

const notes = ['incoming request', 'hook: onSend', 'hook: onResponse 201', 'request completed 201'];

export default application({
  name: "Fastify's logger and hooks",
  adapters: ['fastify'],
  build: (field) => {
    const write = (text: string) => {
      const { msg, res } = JSON.parse(text) as Line;
      if (/request/.test(msg)) field.note([msg, res?.statusCode].filter(Boolean).join(' '));
    };
    return { controllers: [catsController(field)], httpAdapter: new FastifyAdapter({ logger: { stream: { write } } }) };
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
