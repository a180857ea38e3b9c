import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { multipart } from '../../conformance/support/multipart.js';
import type { Exchange } from '../harness.js';

const FILE = 'miaow '.repeat(20_000);

export const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

const form = (content: string) => multipart({ fields: { title: 'cat' }, file: { name: 'cat.txt', content } });

/** A file that is sent again is the same request, whatever its boundary; another file is another request. */
export const upload = (path: string): Exchange => ({
  name: path,
  request: () => Promise.resolve({ path, ...form(FILE) }),
  status: 201,
  check: async (client, { key }, { first }) => {
    const again = await client.send({ path, key, ...form(FILE) });
    assert.equal(String(again.body), String(first.body), 'under another boundary');
    const other = await client.send({ path, key, ...form(`${FILE}!`) });
    assert.equal(other.status, 422, `another file: ${String(other.body)}`);
    assert.equal((await client.effects()).length, 1);
  },
});
