import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { MultipartFileInternals } from '../../private-names/fastify-multipart.js';
import type { PlatformRequest } from './exchange.js';
import { isUnread } from './streamed-body.js';

/** A file as upload packages leave it on a request. */
interface UploadedFile {
  readonly fieldname?: string;
  /** Multer and Nest's own interceptors for Fastify; formidable; express-fileupload; `saveRequestFiles()`, in this order. */
  readonly originalname?: string;
  readonly originalFilename?: string;
  readonly name?: string;
  readonly filename?: string;
  readonly mimetype?: string;
  readonly size?: number;
  readonly buffer?: Uint8Array;
  readonly data?: Uint8Array;
  readonly path?: string;
  readonly filepath?: string;
  readonly tempFilePath?: string;
  /** Of what an object store has taken. */
  readonly etag?: string;
}

/** Where packages leave files and the fields beside them, besides `file`, `files` and `body`. */
type UploadRequest = PlatformRequest & { readonly savedRequestFiles?: unknown; readonly fields?: unknown };

/** Part of a body as `@fastify/multipart` leaves it there with `attachFieldsToBody`. */
interface AttachedPart extends MultipartFileInternals {
  readonly type?: string;
  readonly filename?: string;
  readonly mimetype?: string;
  readonly value?: unknown;
  readonly file?: Readable;
  toBuffer?(): Promise<Buffer>;
}

/** What distinguishes files: field, name, type, size and content. */
export type FileDescription = Readonly<Record<'field' | 'name' | 'type' | 'size' | 'sha256', string | number | null>>;

/** A file that an outer interceptor hands to the handler as a stream, as Nest's `FileStreamInterceptor` does. */
export function streamedFile({ file }: PlatformRequest): { stream: Readable; description: object } | undefined {
  if (!isObject(file)) return undefined;
  const { stream, fieldname, originalname, mimetype } = file as UploadedFile & { readonly stream?: unknown };
  if (!(stream instanceof Readable) || !isUnread(stream)) return undefined;
  return { stream, description: { field: fieldname ?? null, name: originalname ?? null, type: mimetype ?? null } };
}

/** The names that Multer and Nest's interceptors give to files where the application gives none. */
const RANDOM_NAME = /^[0-9a-f]{32}$/;

/** The files that an outer interceptor has read from the request; `undefined` where none did. */
export async function describeFiles(request: UploadRequest): Promise<FileDescription[] | undefined> {
  return filesOf(request) && Promise.all(filesOf(request)!.map(([field, file]) => describeFile(field, file)));
}

/**
 * Removes the files that an outer interceptor has written for a request whose handler does not run, and would have removed
 * or kept them. Files with names of the application's own stay: under such a name, another request may have left its file.
 *
 * @returns `undefined` where there are none
 */
export function removeTemporaryFiles(request: UploadRequest): Promise<void> | undefined {
  const files = filesOf(request);
  return files && removeFiles(files.map(([, file]) => file));
}

async function removeFiles(files: readonly UploadedFile[]): Promise<void> {
  for (const { path, filename = '', tempFilePath } of files) {
    const temporary = RANDOM_NAME.test(filename) ? path : tempFilePath;
    if (temporary) await unlink(temporary).catch(() => undefined);
  }
}

/** Each file with its field, where the place of the file on the request says so. */
function filesOf(request: UploadRequest): [field: string | undefined, file: UploadedFile][] | undefined {
  if (request.file === undefined && request.files === undefined && request.savedRequestFiles === undefined) {
    return undefined;
  }
  // Functions on Fastify, with `@fastify/multipart`.
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

async function describeFile(field: string | undefined, file: UploadedFile): Promise<FileDescription> {
  const { fieldname, originalname, originalFilename, name, filename, mimetype, size } = file;
  return {
    field: fieldname ?? field ?? null,
    name: originalname ?? originalFilename ?? name ?? filename ?? null,
    type: mimetype ?? null,
    size: size ?? null,
    sha256: await contentOf(file),
  };
}

/** `null`: not known. */
async function contentOf({ buffer, data, path, filepath, tempFilePath, etag }: UploadedFile): Promise<string | null> {
  const onDisk = tempFilePath || filepath || path;
  // express-fileupload leaves no bytes beside a file on disk, and an empty buffer.
  const bytes = [buffer, data].find((one) => one instanceof Uint8Array && (one.length > 0 || !onDisk));
  if (bytes) return digest(bytes);
  return onDisk ? digestOfFile(onDisk) : (etag ?? null);
}

/** The body of a multipart request that was parsed already, with descriptions instead of the files' content. */
export async function withoutContent(body: object): Promise<unknown> {
  const described = Object.entries(body).map(async ([name, part]) => {
    const parts = await Promise.all([part].flat().map(describePart));
    return [name, Array.isArray(part) ? parts : parts[0]] as const;
  });
  return Object.fromEntries(await Promise.all(described));
}

async function describePart(part: unknown): Promise<unknown> {
  if (part instanceof Uint8Array) return { sha256: digest(part) };
  if (!isObject(part)) return part;
  // Of a class: what a client sends is of none, and must not name a file to be read.
  if (isStored(part)) return describeFile(undefined, part);
  if (!('fieldname' in part)) return part;
  const attached = part as AttachedPart;
  const { type, filename, mimetype, value, file, _buf } = attached;
  if (type !== 'file') return value;
  // An `onFile` of the application's may have read it, and kept nothing.
  const content = file && !_buf && !isUnread(file) ? undefined : await attached.toBuffer?.();
  return { name: filename, type: mimetype, sha256: content ? digest(content) : null };
}

function isStored(part: object): part is UploadedFile {
  const { buffer, path } = part as UploadedFile;
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(part) as object | null);
  return !isPlain && (buffer instanceof Uint8Array || typeof path === 'string');
}

function isFile(upload: object): upload is UploadedFile {
  return 'fieldname' in upload && typeof upload.fieldname === 'string';
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}

async function digestOfFile(path: string): Promise<string | null> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(path), hash);
    return hash.digest('base64');
  } catch {
    return null;
  }
}
