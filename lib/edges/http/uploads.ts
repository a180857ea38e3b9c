import { createReadStream } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { digestOf, digestOfStream } from '../content/digest.js';
import type { MultipartFileInternals } from '../../private-names/fastify-multipart.js';
import { isObject, type PlatformRequest } from './exchange.js';
import { isUnread } from './streamed-body.js';

/** A file as upload packages put it on a request. */
interface UploadedFile {
  readonly fieldname?: string;
  /** The name as the client sent it: of Multer and Nest's interceptors for Fastify. */
  readonly originalname?: string;
  /** The same, of formidable. */
  readonly originalFilename?: string;
  /** The same, of express-fileupload. */
  readonly name?: string;
  /** The same, of `saveRequestFiles()` of `@fastify/multipart`. Of Multer, the name on disk. */
  readonly filename?: string;
  readonly mimetype?: string;
  readonly size?: number;
  readonly buffer?: Uint8Array;
  readonly data?: Uint8Array;
  readonly path?: string;
  readonly filepath?: string;
  readonly tempFilePath?: string;
  /** Identifies the content of a file that was sent on to an object store. */
  readonly etag?: string;
}

/** The places besides `file`, `files` and `body` where packages put files and the other fields of a form. */
type UploadRequest = PlatformRequest & { readonly savedRequestFiles?: unknown; readonly fields?: unknown };

/** A part of a form as `@fastify/multipart` puts it into the body with `attachFieldsToBody`. */
interface AttachedPart extends MultipartFileInternals {
  readonly fieldname?: string;
  /** The parts of the form by their names: several of one name in an array. */
  readonly fields?: Readonly<Record<string, unknown>>;
  readonly type?: string;
  readonly filename?: string;
  readonly mimetype?: string;
  readonly value?: unknown;
  readonly file?: Readable;
  toBuffer?(): Promise<Buffer>;
}

/** Returns a file that an outer interceptor passes to the handler as a stream, as Nest's `FileStreamInterceptor` does. */
export function streamedFile({ file }: PlatformRequest): { stream: Readable; description: object } | undefined {
  if (!isObject(file)) return undefined;
  const { stream, fieldname, originalname, mimetype } = file as UploadedFile & { readonly stream?: unknown };
  if (!(stream instanceof Readable) || !isUnread(stream)) return undefined;
  return { stream, description: { field: fieldname ?? null, name: originalname ?? null, type: mimetype ?? null } };
}

/** A name that Multer and Nest's interceptors choose when the application does not. */
const RANDOM_NAME = /^[0-9a-f]{32}$/;

/** Describes the files that an outer interceptor has read; `undefined` if none has. */
export async function describeFiles(request: UploadRequest): Promise<Record<string, unknown>[] | undefined> {
  const files = filesOf(request);
  return files && Promise.all(files.map(([field, file]) => describeFile(field, file)));
}

/**
 * Removes the temporary files of a request whose handler does not run, because that handler would have removed them. Keeps files
 * with names that the application has chosen: an earlier request may have written a file of that name.
 *
 * @returns `undefined` if the request has no files
 */
export function removeTemporaryFiles(request: UploadRequest): Promise<void> | undefined {
  const files = filesOf(request);
  return files && removeFiles(files);
}

async function removeFiles(files: readonly (readonly [field: unknown, file: UploadedFile])[]): Promise<void> {
  for (const [, { path, filename = '', tempFilePath }] of files) {
    const temporary = RANDOM_NAME.test(filename) ? path : tempFilePath;
    if (temporary) await unlink(temporary).catch(() => undefined);
  }
}

/** Returns each file with its field, if its place on the request names the field. */
function filesOf(request: UploadRequest): [field: string | undefined, file: UploadedFile][] | undefined {
  if (request.file === undefined && request.files === undefined && request.savedRequestFiles === undefined) {
    return undefined;
  }
  // With `@fastify/multipart`, `file` and `files` are functions.
  const kept = [request.file, request.files, request.savedRequestFiles].filter(isObject);
  if (kept.length === 0) return undefined;
  return kept.flatMap((one) => {
    if (isFile(one)) return [[undefined, one]];
    const fields = Array.isArray(one) ? one.map((file) => [undefined, file] as const) : Object.entries(one);
    return fields.flatMap(([field, files]) =>
      [files].flat().map((file): [string | undefined, UploadedFile] => [field, file as UploadedFile]),
    );
  });
}

/** Returns what distinguishes files: field, name, type, size and content. */
async function describeFile(field: string | undefined, file: UploadedFile): Promise<Record<string, unknown>> {
  const { fieldname, originalname, originalFilename, name, filename, mimetype, size } = file;
  return {
    field: fieldname ?? field ?? null,
    name: originalname ?? originalFilename ?? name ?? filename ?? null,
    type: mimetype ?? null,
    size: size ?? null,
    sha256: await contentOf(file),
  };
}

/** Returns the digest of a file; `null` if its content was not kept. */
async function contentOf({ buffer, data, path, filepath, tempFilePath, etag }: UploadedFile): Promise<string | null> {
  const onDisk = tempFilePath || filepath || path;
  // express-fileupload sets an empty buffer for a file that it has written to disk.
  const bytes = [buffer, data].find((one) => one instanceof Uint8Array && (one.length > 0 || !onDisk));
  if (bytes) return digestOf(bytes);
  return onDisk ? digestOfStream(createReadStream(onDisk)).catch(() => null) : (etag ?? null);
}

/** Returns a parsed multipart body with descriptions instead of the files' content. */
export async function withoutContent(body: object): Promise<unknown> {
  const described = Object.entries(body).map(async ([name, part]) => {
    const parts = await Promise.all([part].flat().map((one) => describePart(one)));
    return [name, Array.isArray(part) ? parts : parts[0]] as const;
  });
  return Object.fromEntries(await Promise.all(described));
}

/** How deep files are looked for in the fields of a form, as in `items[0][photo]`. A client could nest them deeper than the stack. */
const MAX_FILE_DEPTH = 16;

async function describePart(part: unknown, levels = MAX_FILE_DEPTH): Promise<unknown> {
  if (part instanceof Uint8Array) return { sha256: digestOf(part) };
  if (!isObject(part)) return part;
  // Only instances of a class are files of a package. A plain object is what a client sent, and could name any file to be read.
  if (isStored(part)) return describeFile(undefined, part);
  if (levels > 0 && Array.isArray(part)) return Promise.all(part.map((member) => describePart(member, levels - 1)));
  if (!isAttached(part)) return levels > 0 && isPlain(part) ? describeMembers(part, levels - 1) : part;
  const { type, filename, mimetype, value, file, _buf } = part;
  if (type !== 'file') return value;
  // An `onFile` of the application may have read the stream and kept nothing.
  const content = file && !_buf && !isUnread(file) ? undefined : await part.toBuffer?.();
  return { name: filename, type: mimetype, sha256: content ? digestOf(content) : null };
}

async function describeMembers(part: object, levels: number): Promise<object> {
  const members = Object.entries(part).map(
    async ([name, member]) => [name, await describePart(member, levels)] as const,
  );
  return Object.fromEntries(await Promise.all(members));
}

/** A part leads to the whole form, and so to itself. Nothing that a client sends does, whatever its members are called. */
function isAttached(part: object): part is AttachedPart {
  const { fieldname, fields } = part as AttachedPart;
  return typeof fieldname === 'string' && [fields?.[fieldname]].flat().includes(part);
}

function isStored(part: object): part is UploadedFile {
  const { buffer, path } = part as UploadedFile;
  return !isPlain(part) && (buffer instanceof Uint8Array || typeof path === 'string');
}

function isPlain(part: object): boolean {
  return [Object.prototype, null].includes(Object.getPrototypeOf(part) as object | null);
}

function isFile(upload: object): upload is UploadedFile {
  return 'fieldname' in upload && typeof upload.fieldname === 'string';
}
