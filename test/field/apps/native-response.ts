/** https://docs.nestjs.com/controllers#library-specific-approach */
import { Controller, HttpStatus, Post, Res } from '@nestjs/common';
import { application, Effects } from '../harness.js';

interface Response {
  status(code: number): Response;
  send(body?: unknown): Response;
}

export default application({
  name: 'a native response',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      create(@Res() res: Response) {
        void this.effects.add().then((id) => res.status(HttpStatus.ACCEPTED).send({ id }));
      }

      @Post('taken')
      @Idempotent()
      taken(@Res() res: Response) {
        res.status(HttpStatus.CONFLICT).send();
      }

      @Post('passthrough')
      @Idempotent()
      async passthrough(@Res({ passthrough: true }) res: Response) {
        res.status(HttpStatus.OK);
        return [await this.effects.add()];
      }

      /** As those do that redirect: Nest has nothing to add. */
      @Post('passthrough/written')
      @Idempotent()
      async written(@Res({ passthrough: true }) res: Response) {
        res.status(HttpStatus.ACCEPTED).send({ id: await this.effects.add() });
      }

      @Post('passthrough/refused')
      @Idempotent()
      refused(@Res({ passthrough: true }) res: Response) {
        res.status(HttpStatus.CONFLICT).send({ taken: true });
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 202 },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409 },
    { name: 'passthrough', request: { path: '/cats/passthrough' }, status: 200 },
    { name: 'passthrough, written', request: { path: '/cats/passthrough/written' }, status: 202 },
    { name: 'passthrough, refused', request: { path: '/cats/passthrough/refused' }, status: 409 },
  ],
});
