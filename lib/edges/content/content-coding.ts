import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';

/** A stored body is not decoded beyond so many bytes: a small one may become gigabytes, at each replay. */
const LIMIT = { maxOutputLength: 64 * 1_024 * 1_024 };

const DECODERS: Readonly<Record<string, (body: Uint8Array, limit: typeof LIMIT) => Buffer>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
};

/**
 * A stored body without its content coding, for a client that does not accept that; `undefined` where it may have it as
 * it is, and where it cannot be decoded. The first response was made for its own client, and a retry may come through another proxy.
 */
export function decodedFor(acceptEncoding: string | undefined, coding: string, body: Uint8Array): Buffer | undefined {
  const decode = DECODERS[coding.toLowerCase()];
  if (!decode || accepts(acceptEncoding, coding.toLowerCase())) return undefined;
  try {
    return decode(body, LIMIT);
  } catch {
    return undefined;
  }
}

/** RFC 9110, section 12.5.3; but a client that does not say is not expected to know any. */
function accepts(acceptEncoding = '', coding: string): boolean {
  const weights = new Map(
    acceptEncoding.split(',').map((part) => {
      const [name, ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
      const weight = parameters.find((text) => text.startsWith('q='))?.slice(2);
      return [name, weight === undefined ? 1 : Number(weight)];
    }),
  );
  return (weights.get(coding) ?? weights.get('*') ?? 0) > 0;
}
