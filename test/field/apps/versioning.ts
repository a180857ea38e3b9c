/** https://docs.nestjs.com/techniques/versioning and https://docs.nestjs.com/faq/global-prefix */
import assert from 'node:assert/strict';
import { Controller, Post, Version, VersioningType } from '@nestjs/common';
import { application, Effects } from '../harness.js';

export default application({
  name: 'versions and a prefix',
  build: ({ Idempotent }) => {
    @Controller({ path: 'cats', version: '1' })
    class CatsController {
      constructor(private readonly effects: Effects) {}

      @Post()
      @Idempotent()
      async create() {
        return { id: await this.effects.add('v1') };
      }

      @Post()
      @Version('2')
      @Idempotent()
      async createWithData() {
        return { data: { id: await this.effects.add('v2') } };
      }
    }
    return { controllers: [CatsController] };
  },
  setup: (app) => {
    app.setGlobalPrefix('api');
    app.enableVersioning({ type: VersioningType.URI });
  },
  exchanges: [
    {
      name: 'v1',
      request: { path: '/api/v1/cats' },
      status: 201,
      check: async (client, { key }) => {
        const { body } = await client.send({ path: '/api/v2/cats', key });
        assert.equal(body.toString(), '{"data":{"id":2}}', 'another version with the same key');
      },
    },
    { name: 'v2', request: { path: '/api/v2/cats' }, status: 201 },
  ],
});
