import { createHash, randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  All,
  Body,
  Controller,
  Param,
  Post,
  Query,
  Req,
  type Type,
  UploadedFile,
  UploadedFiles,
  UseInterceptors,
} from '@nestjs/common';
import * as express from '@nestjs/platform-express';
import * as fastify from '@nestjs/platform-fastify/multipart';
import { Idempotent } from '../../../lib/index.js';
import type { Platform } from './app.js';
import { ran } from './cases.js';

interface File {
  readonly originalname: string;
  readonly size: number;
  readonly buffer?: Buffer;
  readonly path?: string;
}

export interface PlatformRequest {
  readonly raw?: IncomingMessage;
  readonly body?: unknown;
}

export function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function readAll(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const descriptionOf = (file: File | undefined) =>
  file && { name: file.originalname, size: file.size, sha256: file.buffer && digest(file.buffer) };

/** Bodies and addresses of every kind. */
@Controller('requests')
@Idempotent()
export class RequestFingerprintsController {
  @Post('echo/:id')
  echo(@Param('id') id: string, @Query() query: object, @Body() body: unknown) {
    ran();
    return { run: randomUUID(), id, query: Object.keys(query), type: typeof body };
  }

  @Post('json')
  json(@Body() body: unknown) {
    ran();
    return { run: randomUUID(), type: typeof body };
  }

  @Post('partly')
  @Idempotent({ fingerprint: { ignore: ['/sentAt', '/client/try'], headers: ['x-mode'] } })
  partly() {
    ran();
    return { run: randomUUID() };
  }

  @Post('unlike')
  @Idempotent({ fingerprint: false })
  unlike() {
    ran();
    return { run: randomUUID() };
  }

  @Post('own-fingerprint')
  @Idempotent({
    fingerprint: (context) => String(context.switchToHttp().getRequest<{ body: { order: unknown } }>().body.order),
  })
  ownFingerprint() {
    ran();
    return { run: randomUUID() };
  }

  @All('any')
  any() {
    ran();
    return { run: randomUUID() };
  }

  /** Reads what no parser has read. */
  @Post('stream')
  async stream(@Req() request: PlatformRequest) {
    ran();
    const source = request.body instanceof Readable ? request.body : (request.raw ?? (request as IncomingMessage));
    const bytes = await readAll(source);
    return { run: randomUUID(), size: bytes.length, sha256: digest(bytes) };
  }

  @Post('unread')
  unread() {
    ran();
    return { run: randomUUID() };
  }
}

/** Uploads that interceptors read, before ours and after. */
export function uploadsController(platform: Platform): Type {
  const { FileInterceptor, FilesInterceptor, NoFilesInterceptor } = platform === 'express' ? express : fastify;
  const dest = mkdtempSync(join(process.env.TEST_FOLDER ?? tmpdir(), 'idempotency-uploads-'));
  const toDisk = platform === 'express' ? { dest } : { dest };

  @Controller('uploads')
  class UploadsController {
    @Post('inside')
    @UseInterceptors(FileInterceptor('file') as Type)
    @Idempotent()
    inside(@UploadedFile() file: File, @Body() body: object) {
      ran();
      return { run: randomUUID(), file: descriptionOf(file), body };
    }

    @Post('outside')
    @Idempotent()
    @UseInterceptors(FileInterceptor('file') as Type)
    outside(@UploadedFile() file: File, @Body() body: object) {
      ran();
      return { run: randomUUID(), file: descriptionOf(file), body };
    }

    @Post('disk')
    @Idempotent()
    @UseInterceptors(FileInterceptor('file', toDisk) as Type)
    disk(@UploadedFile() file: File, @Body() body: object) {
      ran();
      return { run: randomUUID(), file: descriptionOf(file), body };
    }

    @Post('several')
    @Idempotent()
    @UseInterceptors(FilesInterceptor('file') as Type)
    several(@UploadedFiles() files: File[], @Body() body: object) {
      ran();
      return { run: randomUUID(), files: files.map(descriptionOf), body };
    }

    @Post('fields')
    @Idempotent()
    @UseInterceptors(NoFilesInterceptor() as Type)
    fields(@Body() body: object) {
      ran();
      return { run: randomUUID(), body };
    }

    @Post('limited')
    @UseInterceptors(FileInterceptor('file', { limits: { fileSize: 10 } }) as Type)
    @Idempotent()
    limited(@UploadedFile() file: File) {
      ran();
      return { run: randomUUID(), file: descriptionOf(file) };
    }

    /** As `@fastify/multipart` is used by hand. */
    @Post('manual')
    @Idempotent()
    async manual(@Req() request: { file(): Promise<{ filename: string; toBuffer(): Promise<Buffer> }> }) {
      ran();
      const file = await request.file();
      const bytes = await file.toBuffer();
      return { run: randomUUID(), file: { name: file.filename, size: bytes.length, sha256: digest(bytes) } };
    }
  }
  return UploadsController;
}

/** With `attachFieldsToBody`, for Fastify. */
@Controller('attached')
@Idempotent()
export class AttachedController {
  @Post()
  async attached(@Body() body: Record<string, { toBuffer?(): Promise<Buffer>; value?: string } | Buffer | string>) {
    ran();
    const { file } = body;
    const bytes = Buffer.isBuffer(file) ? file : await (file as { toBuffer(): Promise<Buffer> }).toBuffer();
    return { run: randomUUID(), sha256: digest(bytes) };
  }
}
