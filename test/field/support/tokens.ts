import assert from 'node:assert/strict';
import { valueOf } from '../../conformance/support/raw-http.js';
import type { Client, Exchange } from '../harness.js';

async function logIn(client: Client, username: string) {
  const { body } = await client.send({ path: '/auth/login', body: { username } });
  return { Authorization: `Bearer ${(JSON.parse(body.toString()) as { access_token: string }).access_token}` };
}

/** John pays, again with a renewed token, and Maria with the same key: her response is `{ id: 2, of: maria }`. */
export const payWithToken = (maria: number | string): Exchange => ({
  name: 'pay',
  request: async (client) => ({ path: '/payments', headers: await logIn(client, 'john') }),
  status: 201,
  check: async (client, request, { first }) => {
    const renewed = await client.send({ ...request, headers: await logIn(client, 'john') });
    assert.equal(renewed.body.toString(), first.body.toString(), 'a renewed token is the same user');
    assert.equal(valueOf(renewed.head, 'idempotent-replayed'), 'true');
    const other = await client.send({ ...request, headers: await logIn(client, 'maria') });
    assert.deepEqual(JSON.parse(other.body.toString()), { id: 2, of: maria }, 'another user with the same key');
  },
});
