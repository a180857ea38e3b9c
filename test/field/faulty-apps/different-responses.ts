/** Wrong on purpose: two executions never answer alike, and say so in a header. */
import { randomUUID } from 'node:crypto';
import { Controller, Post, Res } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: 'answers',
  build: ({ Idempotent, note }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create(@Res({ passthrough: true }) response: { header(name: string, value: string): void }) {
        note('created');
        await this.effects.add();
        response.header('X-Execution', randomUUID());
        return randomUUID();
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [{ name: 'create', request: { path: '/cats' }, status: 201, notes: ['created'] }],
});
