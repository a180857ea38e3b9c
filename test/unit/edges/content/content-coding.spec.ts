import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { decodedFor } from '../../../../lib/edges/content/content-coding.js';

const plain = Buffer.from('plain text');

describe('decoding a stored body', () => {
  test.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['GZIP', gzipSync],
  ])('%s', (coding, encode) => {
    expect(decodedFor(undefined, coding, encode(plain))).toEqual(plain);
  });

  test.each([undefined, '', 'identity', 'br', 'gzip;q=0', 'gzip; q=0.0, *', '*;q=0', 'br, deflate;q=0.5', 'gzip;q=x'])(
    'a client that says %j gets it plain',
    (accepted) => {
      expect(decodedFor(accepted, 'gzip', gzipSync(plain))).toEqual(plain);
    },
  );

  test.each(['gzip', 'GZIP', 'br, gzip', 'gzip;q=0.1', '*', 'br;q=1, *;q=0.5', ' deflate , gzip '])(
    'a client that says %j gets it as it is',
    (accepted) => {
      expect(decodedFor(accepted, 'gzip', gzipSync(plain))).toBeUndefined();
    },
  );

  test('what cannot be decoded is left as it is', () => {
    expect(decodedFor('', 'gzip', plain)).toBeUndefined();
    expect(decodedFor('', 'aes128gcm', plain)).toBeUndefined();
    expect(decodedFor('', 'gzip, br', plain)).toBeUndefined();
  });

  test('nor is what would become larger than 64 MiB', () => {
    const large = gzipSync(Buffer.alloc(64 * 1_024 * 1_024 + 1));
    expect(decodedFor('', 'gzip', large)).toBeUndefined();
  });
});
