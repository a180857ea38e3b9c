/**
 * Headers that the client has not sent. https://github.com/dougmoscrop/serverless-http makes requests that have `headers` and no lines
 * of them; middleware sets the key from a header of another name, or removes one that it does not trust.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { application } from '../harness.js';
import { catsController } from '../support/cats.js';

function setHeaders({ headers, rawHeaders, url }: IncomingMessage): void {
  if (headers['x-request-key']) headers['idempotency-key'] = String(headers['x-request-key']);
  if (headers['x-untrusted']) delete headers['idempotency-key'];
  if (url?.includes('serverless')) rawHeaders.length = 0;
}

export default application({
  name: 'headers that are set',
  build: (field) => ({ controllers: [catsController(field)] }),
  setup: (app, { adapter }) => {
    if (adapter === 'express') {
      app.use((request: IncomingMessage, _response: unknown, next: () => void) => (setHeaders(request), next()));
    } else {
      const fastify = app.getHttpAdapter().getInstance();
      fastify.addHook('onRequest', (request, _reply, done) => (setHeaders(request.raw), done()));
    }
  },
  exchanges: [
    {
      name: 'without lines',
      request: { path: '/cats?serverless' },
      status: 201,
      check: async (client, request) => {
        const other = { ...request, key: randomUUID(), headers: ['Idempotency-Key: another'], path: '/cats' };
        assert.equal((await client.send(other)).status, 400, 'a header that the client repeats');
        const untrusted = { path: '/cats', key: randomUUID(), headers: { 'X-Untrusted': 'yes' } };
        assert.equal((await client.send(untrusted)).status, 400, 'a header that is removed');
        const mapped = { path: '/cats', headers: { 'X-Request-Key': randomUUID() } };
        const [first, retried] = [await client.send(mapped), await client.send(mapped)];
        assert.equal(first.status, 201, 'a header that is set');
        assert.equal(String(retried.body), String(first.body));
      },
    },
  ],
});
