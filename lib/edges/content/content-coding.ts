import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';

/** The size beyond which a stored body is not decoded. A small one may contain gigabytes, which every replay would decode. */
const MAX_DECODED_BYTES = 64 * 1_024 * 1_024;

const DECODERS = new Map<string, (body: Uint8Array, limit: { readonly maxOutputLength: number }) => Buffer>([
  ['gzip', gunzipSync],
  ['x-gzip', gunzipSync],
  ['deflate', inflateSync],
  ['br', brotliDecompressSync],
]);

/**
 * Returns a stored body without its content coding if a client does not accept it: a retry may come through another proxy than the
 * first request. Returns `undefined` if the client accepts the coding, or the body cannot be decoded.
 */
export function decodedFor(acceptEncoding: string | undefined, coding: string, body: Uint8Array): Buffer | undefined {
  return accepts(acceptEncoding, coding.toLowerCase()) ? undefined : decode(body, coding, MAX_DECODED_BYTES);
}

/** Returns a body without its content coding; `undefined` for an unknown coding, a malformed body, and one of more than `maxBytes` bytes. */
export function decode(body: Uint8Array, coding: string, maxBytes: number): Buffer | undefined {
  try {
    return DECODERS.get(coding.toLowerCase())?.(body, { maxOutputLength: maxBytes });
  } catch {
    return undefined;
  }
}

/** RFC 9110, section 12.5.3, except that a client without `Accept-Encoding` is taken to accept none. */
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
