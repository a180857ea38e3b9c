import { createIdempotentFetch, idempotentFetch } from '../../../lib/client/index.js';

const fetch = () => Promise.reject(new Error('nothing is to be sent'));

test('an option that does not exist: a key under another name would be a new one on each call', async () => {
  const options = { fetch, idempotencyKey: 'k1' };
  const message = 'idempotentFetch: the option `idempotencyKey` does not exist; there are maxAttempts, ';
  await expect(idempotentFetch('http://shop.example', {}, options)).rejects.toThrow(message);
  await expect(createIdempotentFetch(options)('http://shop.example')).rejects.toThrow(message);
});

test('a number as text', async () => {
  const options = { fetch, maxAttempts: '2' as unknown as number };
  await expect(idempotentFetch('http://shop.example', {}, options)).rejects.toThrow(
    'idempotentFetch: the option `maxAttempts` must be a number from 1 to',
  );
});
