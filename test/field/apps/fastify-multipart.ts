/** https://github.com/fastify/fastify-multipart: the handler reads the upload itself, whole or as it arrives. */
import { createHash } from 'node:crypto';
import fastifyMultipart, { type MultipartFile } from '@fastify/multipart';
import { Controller, Post, Req } from '@nestjs/common';
import { application, Effects } from '../harness.js';
import { digest, upload } from '../support/upload.js';

interface Upload {
  file(): Promise<MultipartFile>;
}

export default application({
  name: '@fastify/multipart',
  adapters: ['fastify'],
  build: ({ Idempotent }) => {
    @Controller()
    class UploadsController {
      constructor(private readonly effects: Effects) {}

      @Post('buffer')
      @Idempotent()
      async buffer(@Req() request: Upload) {
        const content = await (await request.file()).toBuffer();
        return { id: await this.effects.add(), size: content.length, digest: digest(content) };
      }

      @Post('stream')
      @Idempotent()
      async stream(@Req() request: Upload) {
        const hash = createHash('sha256');
        for await (const chunk of (await request.file()).file) hash.update(chunk as Buffer);
        return { id: await this.effects.add(), digest: hash.digest('hex') };
      }
    }
    return { controllers: [UploadsController] };
  },
  setup: (app) => app.register(fastifyMultipart),
  exchanges: ['/buffer', '/stream'].map(upload),
});
