import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Args, Field, GraphQLModule, Mutation, ObjectType, Query, Resolver } from '@nestjs/graphql';
import { GraphQLScalarType } from 'graphql';
import { Idempotent, IdempotencyService } from '../../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from '../../conformance/support/app.js';
import { call } from '../../support/http-client.js';

const folder = mkdtempSync(join(tmpdir(), 'uploads-'));
const seen: unknown[] = [];
/** Files of several pieces. Resolvers answer with the beginning. */
const A = 'A'.repeat(200_000);
const B = 'B'.repeat(200_000);

interface Upload {
  readonly filename: string;
  readonly createReadStream: () => Readable;
}

/** As graphql-upload has them after a request was parsed: promises of files that can be read as often as one likes. */
function uploaded(name: string): Promise<Upload> {
  const path = join(folder, name);
  const file = {
    filename: name,
    mimetype: 'text/plain',
    encoding: '7bit',
    createReadStream: () => createReadStream(path),
  };
  return new Promise((resolve) =>
    setImmediate(() => resolve(Object.defineProperty(file, 'capacitor', { value: {}, enumerable: false }))),
  );
}

/** As graphql-upload-minimal has them: the content comes once. */
function uploadedOnce(name: string): Promise<Upload> {
  let given = false;
  return Promise.resolve({
    filename: name,
    createReadStream: () => {
      if (given) throw new Error('given already');
      given = true;
      return createReadStream(join(folder, name));
    },
  });
}

function parse(text: unknown): unknown {
  const [kind, name] = String(text).split(':');
  switch (kind) {
    case 'file':
      return uploaded(name);
    case 'once':
      return uploadedOnce(name);
    case 'blob':
      return new File([`content of ${name}`], 'blob.txt');
    case 'stream':
      return Readable.from([name]);
    case 'rejected': {
      const rejected = Promise.reject(new Error(`${name} is missing`));
      rejected.catch(() => undefined);
      return rejected;
    }
    case 'list':
      return Promise.resolve([uploaded(name), { at: new Date(0) }]);
    default:
      return Promise.resolve(text);
  }
}

const UploadScalar = new GraphQLScalarType({ name: 'Upload', parseValue: parse });

@ObjectType()
class Token {
  @Field() id!: string;
  @Field({ nullable: true }) token?: string;
}

async function contentOf(upload: unknown): Promise<string> {
  const content = await wholeOf(upload);
  return content.length > 100 ? `${content.length} ${content[0]}` : content;
}

async function wholeOf(upload: unknown): Promise<string> {
  const file = await (upload as Promise<Upload | File | string | [Promise<Upload>]>);
  if (Array.isArray(file)) return wholeOf(file[0]);
  if (typeof file === 'string') return file;
  return file instanceof Blob ? file.text() : (await buffer(file.createReadStream())).toString();
}

@Resolver()
class DocumentsResolver {
  @Query(() => String) ping() {
    return 'pong';
  }

  @Mutation(() => String)
  @Idempotent()
  async store(@Args('file', { type: () => UploadScalar }) file: unknown, @Args('title') title: string) {
    const content = await contentOf(file);
    seen.push(content);
    return `${title} ${content}`;
  }

  @Mutation(() => String)
  @Idempotent({ fingerprint: { ignore: ['/file'] } })
  async ignore(@Args('file', { type: () => UploadScalar }) file: unknown, @Args('title') title: string) {
    return `${title} ${await contentOf(file)}`;
  }

  @Mutation(() => String)
  @Idempotent({ fingerprint: { ignore: ['/file/filename'] } })
  async rename(@Args('file', { type: () => UploadScalar }) file: unknown) {
    return contentOf(file);
  }

  @Mutation(() => String)
  @Idempotent({ fingerprint: { only: ['/title', '/file/sha256'] } })
  async only(@Args('file', { type: () => UploadScalar }) file: unknown, @Args('title') title: string) {
    return `${title} ${await contentOf(file)}`;
  }

  @Mutation(() => String)
  @Idempotent({ fingerprint: false, request: { redact: ['/title'] } })
  async any(@Args('file', { type: () => UploadScalar }) file: unknown, @Args('title') title: string) {
    return `${title} ${await contentOf(file)}`;
  }

  @Mutation(() => Token)
  @Idempotent({ response: { redact: ['/token'] } })
  mint(): Token {
    return { id: '1', token: 'sk_live_1' };
  }

  @Mutation(() => Token)
  @Idempotent({ response: { store: false } })
  mintUnstored(): Token {
    return { id: '1', token: 'sk_live_1' };
  }
}

describe.each(PLATFORMS)('files among the arguments of mutations, on %s', (platform) => {
  let running: RunningApp;
  let app: RunningApp['app'];
  let url: string;

  beforeAll(async () => {
    writeFileSync(join(folder, 'a.txt'), A);
    writeFileSync(join(folder, 'b.txt'), B);
    writeFileSync(join(folder, 'same.txt'), A);
    running = await startApp(platform, {
      imports: [
        GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true, playground: false }),
      ],
      providers: [DocumentsResolver],
    });
    app = running.app;
    url = `http://127.0.0.1:${running.port}/graphql`;
  });
  afterAll(() => running?.close());
  beforeEach(() => seen.splice(0));

  async function ask(key: string, field: string, variables: object = {}) {
    const query = `mutation ($file: Upload) { ${field} }`.replace(
      '($file: Upload)',
      'file' in variables ? '($file: Upload!)' : '',
    );
    const { data, errors } = JSON.parse((await call(url, { key, body: { query, variables } })).body) as {
      data: Record<string, unknown> | null;
      errors?: { message: string; extensions: { code: string } }[];
    };
    return errors ? `${errors[0].extensions.code}: ${errors[0].message}` : Object.values(data!)[0];
  }
  const store = (key: string, file: string, field = 'store(file: $file, title: "t")') => ask(key, field, { file });
  const stored = async (key: string, operation: string) => {
    const { request } = (await app.get(IdempotencyService).find({ key, operation: `MUTATION ${operation}` }))!;
    return JSON.parse(request!.toString()) as { input: { file: unknown } };
  };

  test('another file under the same key is another request, and the resolver still reads the first', async () => {
    const first = await store('k', 'file:a.txt');
    expect(first).toBe('t 200000 A');
    expect(await store('k', 'file:a.txt')).toBe(first);
    for (const other of ['file:b.txt', 'file:same.txt', 'blob:a.txt', 'text']) {
      expect(await store('k', other)).toMatch(/^key-reused/);
    }
    expect(seen).toHaveLength(1);
    expect((await stored('k', 'store')).input.file).toEqual({
      filename: 'a.txt',
      mimetype: 'text/plain',
      encoding: '7bit',
      sha256: expect.stringMatching(/^.{43}=$/) as string,
    });
  });

  test.each([
    ['blob:x', 'blob:y'],
    ['list:a.txt', 'list:b.txt'],
    ['text', 'other text'],
  ])('so are other things that are promised: %s, %s', async (one, other) => {
    const first = await store(one, one);
    expect(await store(one, one)).toBe(first);
    expect(await store(one, other)).toMatch(/^key-reused/);
  });

  test.each(['once:a.txt', 'stream:a'])(
    'what could be read only once is refused, and nothing runs: %s',
    async (file) => {
      const refusal = await store(file, file);
      expect(refusal).toContain(
        'Idempotency cannot compare the argument /file of MUTATION store: it can be read only once',
      );
      expect(seen).toEqual([]);
      expect(await app.get(IdempotencyService).find({ key: file, operation: 'MUTATION store' })).toBeNull();
    },
  );

  test('it is left alone where it is not compared', async () => {
    const ignore = 'ignore(file: $file, title: "t")';
    const first = await store('ignored', 'once:a.txt', ignore);
    expect(first).toBe('t 200000 A');
    expect(await store('ignored', 'once:b.txt', ignore)).toBe(first);
    expect((await stored('ignored', 'ignore')).input.file).toBeNull();

    const any = 'any(file: $file, title: "SECRET")';
    expect(await store('any', 'once:a.txt', any)).toBe('SECRET 200000 A');
    expect(await stored('any', 'any')).toMatchObject({ input: { file: null, title: '[redacted]' } });
  });

  test('pointers lead into the description of a file', async () => {
    const rename = 'rename(file: $file)';
    const first = await store('renamed', 'file:a.txt', rename);
    expect(await store('renamed', 'file:same.txt', rename)).toBe(first);
    expect(await store('renamed', 'file:b.txt', rename)).toMatch(/^key-reused/);
    const only = 'only(file: $file, title: "t")';
    const one = await store('only', 'file:a.txt', only);
    expect(await store('only', 'file:same.txt', only)).toBe(one);
    expect(await store('only', 'file:b.txt', only)).toMatch(/^key-reused/);
  });

  test('an upload that fails is its own error, and the key stays free', async () => {
    expect(await store('failing', 'rejected:a.txt')).toContain('a.txt is missing');
    expect(await store('failing', 'file:gone.txt')).toContain('ENOENT');
    expect(await store('failing', 'file:b.txt')).toBe('t 200000 B');
  });

  test('minted secrets: the first caller gets them, and the record does not', async () => {
    expect(await ask('mint', 'mint { id token }')).toEqual({ id: '1', token: 'sk_live_1' });
    expect(await ask('mint', 'mint { id token }')).toEqual({ id: '1', token: null });
    expect(await ask('unstored', 'mintUnstored { id token }')).toEqual({ id: '1', token: 'sk_live_1' });
    expect(await ask('unstored', 'mintUnstored { id token }')).toMatch(/^replay-unavailable/);
    const service = app.get(IdempotencyService);
    for (const record of await service.list()) {
      expect(`${record.responseBody?.toString()} ${record.responseHead?.toString()}`).not.toContain('sk_live_');
    }
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));
