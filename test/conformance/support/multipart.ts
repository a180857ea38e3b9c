import { randomBytes } from 'node:crypto';
import type { RawRequest } from './raw-http.js';

export interface Form {
  readonly fields?: Readonly<Record<string, string>>;
  readonly file?: { readonly name?: string; readonly type?: string; readonly content: string | Uint8Array };
  readonly boundary?: string;
}

/** A multipart body, under a boundary that is new each time, as clients send it. */
export function multipart({ fields = {}, file, boundary }: Form): Pick<RawRequest, 'body' | 'headers'> {
  const line = boundary ?? `----WebKitFormBoundary${randomBytes(8).toString('hex')}`;
  const part = (head: string, content: string | Uint8Array) =>
    Buffer.concat([
      Buffer.from(`--${line}\r\n${head}\r\n\r\n`),
      Buffer.from(content as Uint8Array),
      Buffer.from('\r\n'),
    ]);
  const parts = Object.entries(fields).map(([name, value]) =>
    part(`Content-Disposition: form-data; name="${name}"`, value),
  );
  if (file) {
    const { name = 'a.txt', type = 'text/plain', content } = file;
    const disposition = `Content-Disposition: form-data; name="file"; filename="${name}"`;
    parts.push(part(`${disposition}\r\nContent-Type: ${type}`, content));
  }
  return {
    headers: { 'Content-Type': `multipart/form-data; boundary=${line}` },
    body: Buffer.concat([...parts, Buffer.from(`--${line}--\r\n`)]),
  };
}
