/** Web responses and streams as values of handlers, which Nest 12 sends as they are. */
import { Controller, Header, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';

const streamOf = (...chunks: unknown[]) =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });

export default application({
  name: 'web responses',
  build: ({ Idempotent }) => {
    @Controller()
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post('json')
      @Header('X-Powered-By', 'cats')
      @Idempotent()
      async json() {
        return Response.json({ id: await this.effects.add() }, { status: 202, headers: { 'X-Cat': 'Tom' } });
      }

      @Post('empty')
      @Idempotent()
      async empty() {
        await this.effects.add();
        return new Response(null, { status: 204 });
      }

      @Post('redirect')
      @Idempotent()
      async redirect() {
        await this.effects.add();
        return Response.redirect('http://localhost/cats/1', 303);
      }

      @Post('form')
      @Idempotent()
      async form() {
        return new Response(new URLSearchParams({ id: String(await this.effects.add()) }));
      }

      @Post('bytes')
      @Idempotent()
      async bytes() {
        return streamOf(new TextEncoder().encode(`cat ${await this.effects.add()}`), new TextEncoder().encode('!'));
      }

      @Post('taken')
      @Idempotent()
      taken() {
        return Response.json({ taken: true }, { status: 409 });
      }

      @Post('busy')
      @Idempotent()
      busy() {
        return Response.json({ busy: true }, { status: 503 });
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [
    { name: 'json', request: { path: '/json' }, status: 202 },
    { name: 'empty', request: { path: '/empty' }, status: 204 },
    { name: 'redirect', request: { path: '/redirect' }, status: 303 },
    { name: 'form', request: { path: '/form' }, status: 200 },
    { name: 'bytes', request: { path: '/bytes' }, status: 201 },
    { name: 'taken', request: { path: '/taken' }, status: 409 },
    { name: 'busy', request: { path: '/busy' }, status: 503 },
  ],
});
