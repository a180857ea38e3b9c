/** Nest 12's own pipe and serializer for schemas of any library that knows the standard schema. */
import {
  Body,
  Controller,
  Post,
  SerializeOptions,
  StandardSchemaSerializerInterceptor,
  StandardSchemaValidationPipe,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { z } from 'zod/v4';
import { application, Effects } from '../harness.js';

const createCat = z.object({ name: z.string().trim() });
const cat = z.object({ id: z.number(), name: z.string() });

export default application({
  name: 'standard schemas',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      @SerializeOptions({ schema: cat })
      async create(@Body({ schema: createCat }) { name }: z.infer<typeof createCat>) {
        return { id: await this.effects.add(), name, secret: 'removed by the serializer' };
      }
    }
    return { controllers: [CatsController] };
  },
  setup: (app) => {
    app.useGlobalPipes(new StandardSchemaValidationPipe());
    app.useGlobalInterceptors(new StandardSchemaSerializerInterceptor(app.get(Reflector)));
  },
  exchanges: [
    { name: 'create', request: { path: '/cats', body: { name: ' Tom ' } }, status: 201 },
    { name: 'a body that is invalid', request: { path: '/cats', body: { name: 7 } }, status: 400, retry: 'rerun' },
  ],
});
