/** https://github.com/expressjs/morgan: a line for each request, a replay's too. */
import { ConflictException, Controller, Post } from '@nestjs/common';
import morgan from 'morgan';
import { application, Effects } from '../harness.js';

export default application({
  name: 'morgan',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }

      @Post('taken')
      @Idempotent()
      taken() {
        throw new ConflictException('taken');
      }

      @Post('broken')
      @Idempotent()
      broken() {
        throw new Error('broken');
      }
    }
    return { controllers: [CatsController] };
  },
  setup: (app, { note }) =>
    app.use(morgan(':method :url :status :res[content-length]', { stream: { write: (line) => note(line.trimEnd()) } })),
  exchanges: [
    { name: 'create', request: { path: '/cats' }, status: 201, notes: ['POST /cats 201 8'] },
    { name: 'taken', request: { path: '/cats/taken' }, status: 409, notes: ['POST /cats/taken 409 55'] },
    { name: 'broken', request: { path: '/cats/broken' }, status: 500, notes: ['POST /cats/broken 500 52'] },
  ],
});
