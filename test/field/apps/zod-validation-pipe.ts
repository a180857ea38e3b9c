/** https://docs.nestjs.com/pipes#object-schema-validation */
import assert from 'node:assert/strict';
import {
  BadRequestException,
  Body,
  Controller,
  ConflictException,
  type PipeTransform,
  Post,
  UsePipes,
} from '@nestjs/common';
import { z } from 'zod/v4';
import { application, Effects } from '../harness.js';

const createCatSchema = z.object({ name: z.string(), age: z.number() }).required();
type CreateCatDto = z.infer<typeof createCatSchema>;

class ZodValidationPipe implements PipeTransform {
  constructor(private readonly schema: z.ZodType) {}

  transform(value: unknown) {
    const { success, data } = this.schema.safeParse(value);
    if (!success) throw new BadRequestException('Validation failed');
    return data;
  }
}

export default application({
  name: 'ZodValidationPipe',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      @UsePipes(new ZodValidationPipe(createCatSchema))
      async create(@Body() cat: CreateCatDto) {
        if (cat.name === 'taken') throw new ConflictException('taken');
        return { id: await this.effects.add(), cat };
      }
    }
    return { controllers: [CatsController] };
  },
  exchanges: [
    { name: 'create', request: { path: '/cats', body: { name: 'Tom', age: 3, extra: true } }, status: 201 },
    { name: 'a name that is taken', request: { path: '/cats', body: { name: 'taken', age: 3 } }, status: 409 },
    {
      name: 'a body that is invalid',
      request: { path: '/cats', body: { name: 7 } },
      status: 400,
      retry: 'rerun',
      check: async (client, request) => {
        const corrected = await client.send({ ...request, body: { name: 'Tom', age: 3 } });
        assert.equal(corrected.status, 201, 'a corrected request runs under the same key');
      },
    },
  ],
});
