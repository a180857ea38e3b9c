import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import multer from 'multer';
import multipartPlugin from '@fastify/multipart';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  Req,
  type Type,
  UploadedFile,
  UseInterceptors,
} from '@nestjs/common';
import * as express from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import * as fastify from '@nestjs/platform-fastify/multipart';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, isReplay, ran } from './support/cases.js';
import { type Form, multipart } from './support/multipart.js';
import { type RawRequest, send } from './support/raw-http.js';

const MIB = 1_024 * 1_024;
const folder = () => mkdtempSync(join(process.env.TEST_FOLDER ?? tmpdir(), 'idempotency-files-'));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const outcomeOf = (answer: Awaited<ReturnType<typeof send>>) => [answer.status, isReplay(answer), codeOf(answer)];

const FIRST = [201, false, undefined];
const REPLAYED = [201, true, undefined];
const REUSED = [422, false, 'key-reused'];

const random = folder();
const named = folder();

/** Leaves on the request what other packages leave there. */
function leaving(leave: (file: { buffer: Buffer; originalname: string }) => object): Type<NestInterceptor> {
  @Injectable()
  class Leaving implements NestInterceptor {
    intercept(context: ExecutionContext, next: CallHandler) {
      const request = context.switchToHttp().getRequest<{ file: never; files?: unknown; body?: unknown }>();
      const { file } = request;
      Object.assign(request, { file: undefined, files: undefined }, leave(file));
      return next.handle();
    }
  }
  return Leaving;
}

const written = (buffer: Buffer) => {
  const path = join(folder(), randomUUID());
  writeFileSync(path, buffer);
  return path;
};

/** As nestjs-form-data has it. */
class StoredFile {
  constructor(
    readonly originalName: string,
    readonly path: string,
  ) {}
}

const PACKAGES: Record<string, Parameters<typeof leaving>[0]> = {
  'express-fileupload': ({ buffer, originalname }) => ({
    files: { scan: { name: originalname, data: buffer, tempFilePath: '', size: buffer.length } },
  }),
  'express-fileupload-on-disk': ({ buffer, originalname }) => ({
    files: {
      scan: [{ name: originalname, data: Buffer.alloc(0), tempFilePath: written(buffer), size: buffer.length }],
    },
  }),
  formidable: ({ buffer, originalname }) => ({
    body: undefined,
    fields: { note: 'a note' },
    files: { scan: [{ originalFilename: originalname, filepath: written(buffer), size: buffer.length }] },
  }),
  'nestjs-form-data': ({ buffer, originalname }) => ({
    body: { scan: new StoredFile(originalname, written(buffer)), note: 'a note' },
  }),
  'nestjs-form-data-nested': ({ buffer, originalname }) => ({
    body: { items: [{ scan: new StoredFile(originalname, written(buffer)), note: 'a note' }] },
  }),
  'saved-before': ({ buffer, originalname }) => ({
    savedRequestFiles: [{ fieldname: 'scan', filename: originalname, filepath: written(buffer) }],
  }),
  'object-store': ({ buffer, originalname }) => ({
    file: { fieldname: 'scan', originalname, size: buffer.length, key: randomUUID(), etag: sha256(buffer) },
  }),
};

function filesController(platform: (typeof PLATFORMS)[number]): Type {
  const { FileInterceptor } = platform === 'express' ? express : fastify;
  const toNamed = {
    storage: (platform === 'express' ? multer : fastify).diskStorage({
      destination: named,
      filename: (_: unknown, { originalname }: { originalname: string }, done: (e: null, name: string) => void) =>
        done(null, originalname),
    }),
  };

  @Controller('files')
  class FilesController {
    @Post('random')
    @Idempotent()
    @UseInterceptors(FileInterceptor('file', { dest: random }) as Type)
    random(@UploadedFile() { path }: { path: string }) {
      ran();
      unlinkSync(path);
      return {};
    }

    @Post('named')
    @Idempotent()
    @UseInterceptors(FileInterceptor('file', toNamed as never) as Type)
    named(@UploadedFile() { path }: { path: string }) {
      ran();
      return { path };
    }

    @Post('lost')
    @Idempotent()
    @UseInterceptors(
      FileInterceptor('file') as Type,
      leaving(({ originalname }) => ({ file: { fieldname: 'scan', originalname } })),
    )
    lost() {
      ran();
      return {};
    }
  }
  for (const [name, leave] of Object.entries(PACKAGES)) {
    const method = { [name]: () => (ran(), { name }) }[name];
    Object.defineProperty(FilesController.prototype, name, { value: method, writable: true, configurable: true });
    const described = Object.getOwnPropertyDescriptor(FilesController.prototype, name)!;
    // Decorators are applied from the last to the first.
    for (const decorate of [
      UseInterceptors(FileInterceptor('file') as Type, leaving(leave)),
      Idempotent(),
      Post(name),
    ]) {
      (decorate as MethodDecorator)(FilesController.prototype, name, described);
    }
    Object.defineProperty(FilesController.prototype, name, described);
  }
  return FilesController;
}

/** Handlers that read the parts themselves. */
@Controller('parts')
class PartsController {
  @Post('file')
  @Idempotent()
  async file(@Req() request: { file(): Promise<{ toBuffer(): Promise<Buffer> }> }) {
    ran();
    return { sha256: sha256(await (await request.file()).toBuffer()) };
  }

  @Post('parts')
  @Idempotent()
  async parts(@Req() request: { parts(): AsyncIterable<{ file?: unknown; toBuffer(): Promise<Buffer> }> }) {
    ran();
    const found = [];
    for await (const part of request.parts()) found.push(part.file ? sha256(await part.toBuffer()) : 'field');
    return { found };
  }

  @Post('saved')
  @Idempotent()
  async saved(@Req() request: { saveRequestFiles(options: object): Promise<{ files: { filepath: string }[] }> }) {
    ran();
    const { files } = await request.saveRequestFiles({ tmpdir: random });
    return { files: files.length };
  }

  @Post('stream-outside')
  @Idempotent()
  @UseInterceptors(fastify.FileStreamInterceptor('file') as Type)
  streamOutside(@UploadedFile() { stream }: { stream: Readable }) {
    return this.read(stream);
  }

  @Post('stream-inside')
  @UseInterceptors(fastify.FileStreamInterceptor('file') as Type)
  @Idempotent()
  streamInside(@UploadedFile() { stream }: { stream: Readable }) {
    return this.read(stream);
  }

  private async read(stream: Readable) {
    ran();
    return { sha256: sha256(Buffer.concat(await stream.toArray())) };
  }
}

describe.each(PLATFORMS)('files that interceptors have read, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [filesController(platform)] });
  });
  afterAll(() => app?.close());

  const upload = (kind: string, key: string | undefined, form: Form) =>
    send(app.port, { path: `/files/${kind}`, key, ...multipart(form) } as RawRequest);

  test('those with random names are removed where the handler does not run', async () => {
    const key = randomUUID();
    const before = countRuns();
    expect(outcomeOf(await upload('random', key, { file: { content: 'abc' } }))).toEqual(FIRST);
    expect(outcomeOf(await upload('random', key, { file: { content: 'abc' } }))).toEqual(REPLAYED);
    expect(outcomeOf(await upload('random', key, { file: { content: 'abd' } }))).toEqual(REUSED);
    expect((await upload('random', undefined, { file: { content: 'abd' } })).status).toBe(400);
    expect(countRuns() - before).toBe(1);
    expect(readdirSync(random)).toEqual([]);
  });

  test('those that the application has named stay: the name may be that of the first', async () => {
    const key = randomUUID();
    const form = { file: { content: 'abc', name: `${randomUUID()}.txt` } };
    const { path } = JSON.parse((await upload('named', key, form)).body.toString()) as { path: string };
    expect(outcomeOf(await upload('named', key, form))).toEqual(REPLAYED);
    expect(existsSync(path)).toBe(true);
  });

  test.each(Object.keys(PACKAGES))('%s: files that differ anywhere are two requests', async (kind) => {
    const key = randomUUID();
    const content = randomBytes(100_000);
    const form = () => ({ file: { content, name: 'a.bin' } });
    expect(outcomeOf(await upload(kind, key, form()))).toEqual(FIRST);
    expect(outcomeOf(await upload(kind, key, form()))).toEqual(REPLAYED);
    content[content.length - 1] ^= 1;
    expect(outcomeOf(await upload(kind, key, form()))).toEqual(REUSED);
    expect(app.log.lines).toEqual([]);
  });

  test('one whose content is gone is logged, once', async () => {
    for (let n = 0; n < 2; n++) {
      expect((await upload('lost', randomUUID(), { file: { content: 'abc' } })).status).toBe(201);
    }
    expect(app.log.lines).toEqual([
      expect.stringMatching(/^WARN POST \/files\/lost: an upload cannot be compared with that of a retry/),
    ]);
  });
});

describe('parts that the handler reads itself, on fastify', () => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp('fastify', {
      controllers: [PartsController],
      configure: async (nest) => {
        const limits = { fileSize: 4 * MIB };
        await (nest as NestFastifyApplication).register(multipartPlugin as never, { limits } as never);
      },
    });
  });
  afterAll(() => app?.close());

  test.each(['file', 'parts', 'saved', 'stream-outside', 'stream-inside'])(
    '%s: files that differ anywhere are two requests',
    async (kind) => {
      const content = randomBytes(2 * MIB);
      const key = randomUUID();
      const upload = (form: Form) => send(app.port, { path: `/parts/${kind}`, key, ...multipart(form) });
      const first = await upload({ fields: { note: 'a note' }, file: { content } });
      expect(outcomeOf(first)).toEqual(FIRST);
      const again = await upload({ fields: { note: 'a note' }, file: { content }, boundary: 'short' });
      expect([...outcomeOf(again), again.body.equals(first.body)]).toEqual([...REPLAYED, true]);
      expect(outcomeOf(await upload({ fields: { note: 'another' }, file: { content } }))).toEqual(REUSED);
      expect(outcomeOf(await upload({ fields: { note: 'a note' }, file: { content, name: 'b' } }))).toEqual(REUSED);
      content[content.length - 1] ^= 1;
      expect(outcomeOf(await upload({ fields: { note: 'a note' }, file: { content } }))).toEqual(REUSED);
      expect(readdirSync(random)).toEqual([]);
    },
  );
});

test('attached files that an `onFile` has consumed are logged, on fastify', async () => {
  @Controller('attached')
  class AttachedController {
    @Post()
    @Idempotent()
    attached() {
      return {};
    }
  }
  const app = await startApp('fastify', {
    controllers: [AttachedController],
    configure: async (nest) => {
      const onFile = async ({ file }: { file: Readable }) => void (await file.toArray());
      await (nest as NestFastifyApplication).register(
        multipartPlugin as never,
        {
          attachFieldsToBody: true,
          onFile,
        } as never,
      );
    },
  });
  try {
    const key = randomUUID();
    const request = { path: '/attached', key, ...multipart({ file: { content: 'abc' } }) };
    expect(outcomeOf(await send(app.port, request))).toEqual(FIRST);
    expect(outcomeOf(await send(app.port, request))).toEqual(REPLAYED);
    expect(app.log.toString()).toMatch(/^WARN POST \/attached: an upload cannot be compared/);
  } finally {
    await app.close();
  }
});
