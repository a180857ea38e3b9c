import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import timeout from 'connect-timeout';
import type { RawAnswer, RawRequest } from '../../conformance/support/raw-http.js';
import { until } from '../../support/until.js';
import type { Client, Field, NestApplication } from '../harness.js';

const codeOf = ({ body }: RawAnswer) => (JSON.parse(body.toString()) as { code?: string }).code;

/** Long enough for whatever is not held, on a busy machine too. */
export const TIME_LIMIT_MS = 1_000;

/** Answers 503 where a handler takes too long: https://github.com/expressjs/timeout, and the same with Fastify. */
export function answersLate(app: NestApplication, { adapter }: Field): void {
  if (adapter === 'express') {
    app.use(timeout(TIME_LIMIT_MS));
    return;
  }
  const fastify = app.getHttpAdapter().getInstance();
  fastify.addHook('onRequest', (_request, reply, done) => {
    const timer = setTimeout(() => void (reply.sent || reply.code(503).send({ message: 'timeout' })), TIME_LIMIT_MS);
    reply.raw.once('close', () => clearTimeout(timer));
    done();
  });
}

/**
 * Sends a request whose handler outlasts a time-out that answers with `status`. The key is held until the handler has
 * ended, and what is sent after that carries nothing out.
 */
export async function checkLateHandler(client: Client, like: RawRequest, status: number): Promise<void> {
  const request = { ...like, key: randomUUID() };
  const before = client.begun();
  const effects = (await client.effects()).length;
  client.hold();
  const given = await client.send(request);
  assert.equal(given.status, status, `the time-out: ${String(given.body)}`);
  assert.equal(client.begun() - before, 1);
  const atOnce = await client.send(request);
  assert.deepEqual([atOnce.status, codeOf(atOnce)], [409, 'in-progress'], 'a retry while the handler runs');
  client.release();
  await until(async () => (await client.effects()).length > effects);
  let later = await client.send(request);
  await until(async () => codeOf(later) !== 'in-progress' || !(later = await client.send(request)));
  assert.ok(later.status < 300 || codeOf(later) === 'replay-unavailable', `a retry later: ${String(later.body)}`);
  assert.deepEqual([client.begun() - before, (await client.effects()).length - effects], [1, 1], 'calls and effects');
}
