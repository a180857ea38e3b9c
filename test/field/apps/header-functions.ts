/** https://docs.nestjs.com/controllers#response-headers */
import { Controller, Header, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: 'headers by a function',
  build: ({ Idempotent }) => {
    let calls = 0;
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Header('X-Receipt', () => `receipt-${++calls}`)
      @Header('Cache-Control', 'no-store')
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [CatsController] };
  },
  // A refused duplicate has a receipt of its own.
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 201, concurrent: false }],
});
