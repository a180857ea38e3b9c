/** Wrong on purpose: without the decorator, which the harness expects. */
import assert from 'node:assert/strict';
import { Controller, Logger, Post } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: 'unprotected',
  build: ({ note }) => {
    let runs = 0;

    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      async create() {
        note('created');
        if (++runs > 1) new Logger().warn('again');
        return { id: await this.effects.add() };
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [
    {
      name: 'create',
      request: { path: '/cats' },
      status: 201,
      notes: ['created'],
      notesOfReplay: [],
      check: async (client) => assert.equal((await client.effects()).length, 1, 'paid twice'),
    },
  ],
});
