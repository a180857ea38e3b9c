import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import {
  describeFiles,
  removeTemporaryFiles,
  streamedFile,
  withoutContent,
} from '../../../../lib/edges/http/uploads.js';

type Request = Parameters<typeof describeFiles>[0];

const requestWith = (members: object) => members as Request;
const sha256 = (text: string) => createHash('sha256').update(text).digest('base64');

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'idempotency-uploads-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function onDisk(name: string, content = 'on disk'): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const NOTHING = { field: null, name: null, type: null, size: null, sha256: null };

describe('the files of a request', () => {
  test.each([
    ['without any', {}],
    ['whose package has put functions there', { file: () => {}, files: () => {} }],
    ['whose optional file is null', { file: null, files: undefined }],
  ])('are none in one %s', async (_, members) => expect(await describeFiles(requestWith(members))).toBeUndefined());

  const a = { fieldname: 'a', originalname: 'a.txt', mimetype: 'text/plain', size: 1, buffer: Buffer.from('a') };
  const described = { field: 'a', name: 'a.txt', type: 'text/plain', size: 1, sha256: sha256('a') };

  test.each([
    ['one of Multer', { file: a }, [described]],
    ['a list of Multer', { files: [a, a] }, [described, described]],
    ['lists by field, of Multer', { files: { a: [a], b: [a] } }, [described, described]],
    [
      'lists by field whose files do not name it, of express-fileupload',
      { files: { b: { name: 'b.txt', data: Buffer.from('b') }, c: [{ name: 'c.txt', data: Buffer.from('c') }] } },
      [
        { ...NOTHING, field: 'b', name: 'b.txt', sha256: sha256('b') },
        { ...NOTHING, field: 'c', name: 'c.txt', sha256: sha256('c') },
      ],
    ],
    ['lists of a field that is named like what marks a file', { files: { fieldname: [a] } }, [described]],
    [
      'files that @fastify/multipart has saved',
      { savedRequestFiles: [{ fieldname: 's', filename: 's.txt', mimetype: 'text/plain' }] },
      [{ ...NOTHING, field: 's', name: 's.txt', type: 'text/plain' }],
    ],
    ['a file with a name of formidable', { files: [{ originalFilename: 'f' }] }, [{ ...NOTHING, name: 'f' }]],
    [
      'the name of the client before others',
      { files: [{ originalname: '1', originalFilename: '2', name: '3', filename: '4' }] },
      [{ ...NOTHING, name: '1' }],
    ],
    [
      'its next name before others',
      { files: [{ originalFilename: '2', name: '3', filename: '4' }] },
      [{ ...NOTHING, name: '2' }],
    ],
    ['its third name', { files: [{ name: '3', filename: '4' }] }, [{ ...NOTHING, name: '3' }]],
    ['one beside a function', { file: () => {}, savedRequestFiles: [a] }, [described]],
    [
      'a file sent on to an object store',
      { file: { fieldname: 'e', etag: 'tag' } },
      [{ ...NOTHING, field: 'e', sha256: 'tag' }],
    ],
    ['an empty file in memory', { files: [{ buffer: Buffer.alloc(0) }] }, [{ ...NOTHING, sha256: sha256('') }]],
  ])('are %s', async (_, members, files) => expect(await describeFiles(requestWith(members))).toEqual(files));

  test.each(['path', 'filepath', 'tempFilePath'])('are read from %s', async (name) => {
    const file = { data: Buffer.alloc(0), [name]: onDisk('read') };
    expect(await describeFiles(requestWith({ files: [file] }))).toEqual([{ ...NOTHING, sha256: sha256('on disk') }]);
  });

  test('count by their bytes in memory where they have both', async () => {
    const file = { data: Buffer.from('in memory'), tempFilePath: onDisk('both') };
    expect(await describeFiles(requestWith({ files: [file] }))).toMatchObject([{ sha256: sha256('in memory') }]);
  });

  test('that are gone from disk have no content', async () => {
    const file = { path: join(folder, 'gone'), etag: 'tag' };
    expect(await describeFiles(requestWith({ files: [file] }))).toEqual([NOTHING]);
  });
});

describe('temporary files of a request whose handler does not run', () => {
  const RANDOM = 'a'.repeat(32);

  test('without any, nothing is waited for', () => expect(removeTemporaryFiles(requestWith({}))).toBeUndefined());

  test.each([
    ['a name that Multer has chosen', (path: string) => ({ path, filename: RANDOM }), false],
    ['a name of the application', (path: string) => ({ path, filename: 'invoice.pdf' }), true],
    ['a name that only begins like a chosen one', (path: string) => ({ path, filename: `${RANDOM}b` }), true],
    ['a name that only ends like a chosen one', (path: string) => ({ path, filename: `g${RANDOM}` }), true],
    ['a temporary path', (tempFilePath: string) => ({ tempFilePath }), false],
    ['a path without a name', (path: string) => ({ path }), true],
  ])('of %s', async (_, fileAt, stays) => {
    const path = onDisk('temporary');
    await removeTemporaryFiles(requestWith({ files: [fileAt(path)] }));
    expect(existsSync(path)).toBe(stays);
  });

  test('that are gone already do not fail the request, and others are removed', async () => {
    const path = onDisk('second');
    const files = [{ tempFilePath: join(folder, 'gone') }, {}, { tempFilePath: path }];
    await removeTemporaryFiles(requestWith({ files }));
    expect(existsSync(path)).toBe(false);
  });
});

describe('a file that the handler gets as a stream', () => {
  const stream = () => Readable.from(['a']);

  test('is described without its content', () => {
    const file = { stream: stream(), fieldname: 'f', originalname: 'n', mimetype: 't' };
    expect(streamedFile(requestWith({ file }))).toEqual({
      stream: file.stream,
      description: { field: 'f', name: 'n', type: 't' },
    });
  });

  test('may have no names', () => {
    expect(streamedFile(requestWith({ file: { stream: stream() } }))?.description).toEqual({
      field: null,
      name: null,
      type: null,
    });
  });

  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a function', () => {}],
    ['a file in memory', { buffer: Buffer.alloc(0) }],
    ['something else named stream', { stream: 'a' }],
  ])('is not %s', (_, file) => expect(streamedFile(requestWith({ file }))).toBeUndefined());

  test('is not one that was read', async () => {
    const read = stream();
    await read.toArray();
    expect(streamedFile(requestWith({ file: { stream: read } }))).toBeUndefined();
  });
});

/** A part as @fastify/multipart attaches it: it leads to all parts of its form. */
const attached = (members: object) => {
  const part = { fieldname: 'f', fields: {} as object, ...members };
  part.fields = { f: part };
  return part;
};

const several = ['b', 'c'].map((value) => attached({ type: 'field', value }));
for (const part of several) part.fields = { f: several };

describe('a form in the body', () => {
  class StoredFile {
    constructor(members: object) {
      Object.assign(this, members);
    }
  }

  test.each([
    ['text', { a: 'b', n: null, list: ['c', 'd'] }, { a: 'b', n: null, list: ['c', 'd'] }],
    ['bytes', { a: Buffer.from('a') }, { a: { sha256: sha256('a') } }],
    ['bytes in a list', { a: [Buffer.from('a')] }, { a: [{ sha256: sha256('a') }] }],
    ['a field', { a: attached({ type: 'field', value: 'b' }) }, { a: 'b' }],
    ['several fields of one name', { f: several }, { f: ['b', 'c'] }],
    [
      'a file',
      { a: attached({ type: 'file', filename: 'n', mimetype: 't', toBuffer: async () => Buffer.from('a') }) },
      { a: { name: 'n', type: 't', sha256: sha256('a') } },
    ],
    ['a file without content', { a: attached({ type: 'file', filename: 'n' }) }, { a: { name: 'n', sha256: null } }],
    [
      'a file in memory, of nestjs-form-data',
      { a: new StoredFile({ originalName: 'x', buffer: Buffer.from('a'), mimetype: 't', size: 1 }) },
      { a: { ...NOTHING, type: 't', size: 1, sha256: sha256('a') } },
    ],
    [
      'files in members of members',
      { items: [[{ photo: new StoredFile({ buffer: Buffer.from('a') }) }]] },
      { items: [[{ photo: { ...NOTHING, sha256: sha256('a') } }]] },
    ],
    ['an object without a prototype', { a: Object.assign(Object.create(null), { b: 'c' }) }, { a: { b: 'c' } }],
  ])('keeps %s', async (_, body, described) => expect(await withoutContent(body)).toEqual(described));

  test.each([
    ['a field', { fieldname: 'tip', type: 'field', value: 'yes', amount: '5' }],
    ['a file', { fieldname: 'tip', type: 'file', filename: 'a', toBuffer: 'x', amount: '5' }],
    ['a part of a form', { fieldname: 'tip', fields: { tip: { fieldname: 'tip' } }, value: 'yes', amount: '5' }],
    ['a part without a form', { fieldname: {}, fields: null, amount: '5' }],
  ])('keeps all of what a client has made look like %s', async (_, like) => {
    expect(await withoutContent({ extra: [like] })).toEqual({ extra: [like] });
  });

  test('does not read a file that a client has named', async () => {
    const path = onDisk('secret');
    expect(await withoutContent({ a: { path } })).toEqual({ a: { path } });
  });

  test('reads a file of a class', async () => {
    const path = onDisk('stored', 'content');
    expect(await withoutContent({ a: new StoredFile({ path }) })).toEqual({
      a: { ...NOTHING, sha256: sha256('content') },
    });
  });

  test('leaves instances of other classes as they are', async () => {
    const date = new Date(0);
    expect(await withoutContent({ a: date })).toEqual({ a: date });
  });

  test('that nests deeper than the stack is kept as it is below a depth', async () => {
    const nested = (levels: number): unknown => (levels === 0 ? Buffer.from('a') : { a: nested(levels - 1) });
    const depthOf = (value: unknown): number =>
      Buffer.isBuffer(value) ? 0 : 'sha256' in (value as object) ? -100 : 1 + depthOf((value as { a: unknown }).a);
    expect(depthOf(await withoutContent({ a: nested(16) }))).toBeLessThan(0);
    expect(depthOf(await withoutContent({ a: nested(18) }))).toBe(19);
  });

  describe('with a file whose stream the application has read', () => {
    const readStream = async () => {
      const file = new PassThrough();
      file.end('a');
      await file.toArray();
      return file;
    };
    const toBuffer = () => Promise.resolve(Buffer.from('a'));

    test('has no content where nothing was kept', async () => {
      const part = attached({ type: 'file', filename: 'n', file: await readStream(), toBuffer });
      expect(await withoutContent({ a: part })).toEqual({ a: { name: 'n', sha256: null } });
    });

    test('has the content that was kept', async () => {
      const part = attached({
        type: 'file',
        filename: 'n',
        file: await readStream(),
        _buf: Buffer.from('a'),
        toBuffer,
      });
      expect(await withoutContent({ a: part })).toEqual({ a: { name: 'n', sha256: sha256('a') } });
    });

    test('has that of an unread stream', async () => {
      const part = attached({ type: 'file', filename: 'n', file: new PassThrough(), toBuffer });
      expect(await withoutContent({ a: part })).toEqual({ a: { name: 'n', sha256: sha256('a') } });
    });
  });
});
