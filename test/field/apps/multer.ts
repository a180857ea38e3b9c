/** https://docs.nestjs.com/techniques/file-upload: in memory and on disk, in either order of the decorators. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, type OnApplicationShutdown, Post, UploadedFile, UseInterceptors } from '@nestjs/common';
import { FileInterceptor } from '@nestjs/platform-express';
import { diskStorage } from 'multer';
import { application, Effects } from '../harness.js';
import { digest, upload } from '../support/upload.js';

export default application({
  name: 'multer',
  adapters: ['express'],
  build: ({ Idempotent }) => {
    const folder = mkdtempSync(join(tmpdir(), 'field-uploads-'));

    @Controller()
    class UploadsController implements OnApplicationShutdown {
      constructor(private readonly effects: Effects) {}

      @Post('memory')
      @Idempotent()
      @UseInterceptors(FileInterceptor('file'))
      async memory(@UploadedFile() file: Express.Multer.File) {
        return { id: await this.effects.add(), size: file.size, digest: digest(file.buffer) };
      }

      @Post('disk')
      @Idempotent()
      @UseInterceptors(FileInterceptor('file', { storage: diskStorage({ destination: folder }) }))
      async disk(@UploadedFile() file: Express.Multer.File) {
        return { id: await this.effects.add(), size: file.size, digest: digest(readFileSync(file.path)) };
      }

      @Post('memory-inside')
      @UseInterceptors(FileInterceptor('file'))
      @Idempotent()
      memoryInside(@UploadedFile() file: Express.Multer.File) {
        return this.memory(file);
      }

      @Post('disk-inside')
      @UseInterceptors(FileInterceptor('file', { storage: diskStorage({ destination: folder }) }))
      @Idempotent()
      diskInside(@UploadedFile() file: Express.Multer.File) {
        return this.disk(file);
      }

      onApplicationShutdown() {
        rmSync(folder, { recursive: true });
      }
    }
    return { controllers: [UploadsController] };
  },
  exchanges: ['/memory', '/disk', '/memory-inside', '/disk-inside'].map(upload),
});
