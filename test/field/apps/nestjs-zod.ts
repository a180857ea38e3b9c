/** https://github.com/BenLorantfy/nestjs-zod: DTOs, the global pipe and the serializer. */
import { Body, Controller, Post } from '@nestjs/common';
import { APP_INTERCEPTOR, APP_PIPE } from '@nestjs/core';
import { createZodDto, ZodSerializerDto, ZodSerializerInterceptor, ZodValidationPipe } from 'nestjs-zod';
import { z } from 'zod/v4';
import { application, Effects } from '../harness.js';

class CreateCatDto extends createZodDto(z.object({ name: z.string().trim(), age: z.number() })) {}
class CatDto extends createZodDto(z.object({ id: z.number(), name: z.string() })) {}

export default application({
  name: 'nestjs-zod',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      @ZodSerializerDto(CatDto)
      async create(@Body() { name, age }: CreateCatDto) {
        return { id: await this.effects.add(), name, age, secret: 'removed by the serializer' };
      }
    }
    return {
      controllers: [CatsController],
      providers: [
        { provide: APP_PIPE, useClass: ZodValidationPipe },
        { provide: APP_INTERCEPTOR, useClass: ZodSerializerInterceptor },
      ],
    };
  },
  exchanges: [
    { name: 'create', request: { path: '/cats', body: { name: ' Tom ', age: 3 } }, status: 201 },
    { name: 'a body that is invalid', request: { path: '/cats', body: { name: 7 } }, status: 400, retry: 'rerun' },
  ],
});
