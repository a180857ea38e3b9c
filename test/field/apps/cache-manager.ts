/** https://docs.nestjs.com/techniques/caching: GETs are cached by a global interceptor, and a POST clears what it changed. */
import assert from 'node:assert/strict';
import { CACHE_MANAGER, type Cache, CacheInterceptor, CacheModule } from '@nestjs/cache-manager';
import { Controller, Get, Inject, Post } from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { application, Effects } from '../harness.js';

export default application({
  name: '@nestjs/cache-manager',
  build: ({ Idempotent }) => {
    @Controller('cats')
    class CatsController {
      constructor(
        @Inject(CACHE_MANAGER) private readonly cache: Cache,
        private readonly effects: Effects,
      ) {}

      @Get()
      async count() {
        return { cats: (await this.effects.all()).length };
      }

      @Post()
      @Idempotent()
      async create() {
        const id = await this.effects.add();
        await this.cache.del('/cats');
        return { id };
      }
    }
    return {
      imports: [CacheModule.register()],
      controllers: [CatsController],
      providers: [{ provide: APP_INTERCEPTOR, useClass: CacheInterceptor }],
    };
  },
  exchanges: [
    {
      name: 'create',
      request: async (client) => {
        await client.send({ method: 'GET', path: '/cats' });
        return { path: '/cats' };
      },
      status: 201,
      check: async (client) => {
        const { body } = await client.send({ method: 'GET', path: '/cats' });
        assert.equal(body.toString(), '{"cats":1}');
      },
    },
  ],
});
