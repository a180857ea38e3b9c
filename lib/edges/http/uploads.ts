import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { PlatformRequest } from './exchange.js';
import { isUnread } from './streamed-body.js';

/** A file as Multer, and Nest's own upload interceptors for Fastify, leave it on a request. */
interface UploadedFile {
  readonly fieldname?: string;
  readonly originalname?: string;
  readonly mimetype?: string;
  readonly size?: number;
  readonly buffer?: Uint8Array;
  readonly path?: string;
}

/** Part of a body as `@fastify/multipart` leaves it there with `attachFieldsToBody`. */
interface AttachedPart {
  readonly type?: string;
  readonly filename?: string;
  readonly mimetype?: string;
  readonly value?: unknown;
  toBuffer?(): Promise<Buffer>;
}

/** What tells files from others: field, name, type, size and content. */
export type FileDescription = Readonly<Record<'field' | 'name' | 'type' | 'size' | 'sha256', string | number | null>>;

/** A file that an outer interceptor hands to the handler as a stream, as Nest's `FileStreamInterceptor` does. */
export function streamedFile({ file }: PlatformRequest): { stream: Readable; description: object } | undefined {
  if (typeof file !== 'object' || file === null) return undefined;
  const { stream, fieldname, originalname, mimetype } = file as UploadedFile & { readonly stream?: unknown };
  if (!(stream instanceof Readable) || !isUnread(stream)) return undefined;
  return { stream, description: { field: fieldname ?? null, name: originalname ?? null, type: mimetype ?? null } };
}

/** The files that an outer interceptor has read from the request; `undefined` where none did. */
export async function describeFiles({ file, files }: PlatformRequest): Promise<FileDescription[] | undefined> {
  // Functions on Fastify, with `@fastify/multipart`.
  const uploads = [file, files].filter((one) => typeof one === 'object' && one !== null);
  if (uploads.length === 0) return undefined;
  const all = uploads.flatMap((one) => (isFile(one) ? [one] : Object.values(one as object).flat())) as UploadedFile[];
  return Promise.all(
    all.map(async ({ fieldname, originalname, mimetype, size, buffer, path }) => ({
      field: fieldname ?? null,
      name: originalname ?? null,
      type: mimetype ?? null,
      size: size ?? null,
      sha256: buffer ? digest(buffer) : path ? await digestOfFile(path) : null,
    })),
  );
}

/** The body of a multipart request that was parsed already, with files described in place of their content. */
export async function withoutContent(body: object): Promise<unknown> {
  const described = Object.entries(body).map(async ([name, part]) => {
    const parts = await Promise.all([part].flat().map(describePart));
    return [name, Array.isArray(part) ? parts : parts[0]] as const;
  });
  return Object.fromEntries(await Promise.all(described));
}

async function describePart(part: unknown): Promise<unknown> {
  if (part instanceof Uint8Array) return { sha256: digest(part) };
  if (typeof part !== 'object' || part === null || !('fieldname' in part)) return part;
  const attached = part as AttachedPart;
  const { type, filename, mimetype, value } = attached;
  if (type !== 'file') return value;
  const content = await attached.toBuffer?.();
  return { name: filename, type: mimetype, sha256: content ? digest(content) : null };
}

function isFile(upload: object): boolean {
  return 'fieldname' in upload && typeof upload.fieldname === 'string';
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
