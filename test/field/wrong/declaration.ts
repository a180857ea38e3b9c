/** Wrong on purpose: what is declared is not what the bare application does. */
import { Controller, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: 'declaration',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 200, effects: 2, concurrent: false }],
});
