/** Plays the platform: two events with one key, in one instance. */
import { cachedApplication } from './application.js';
import { handler } from './handler.js';
import { sweep } from './sweep.js';

const headers = { 'content-type': 'application/json', 'idempotency-key': process.argv[2] ?? 'k1' };
const body = '{"amount":100}';
const event = { httpMethod: 'POST', path: '/payments', headers, body } as const;
// The same request over another gateway, which takes every body for binary.
const encoded = { ...event, body: Buffer.from(body).toString('base64'), isBase64Encoded: true } as const;

for (const [attempt, sent] of [event, encoded].entries()) {
  const { statusCode, headers: answered, body: payment } = await handler(sent);
  console.log(
    `attempt ${attempt + 1}: ${statusCode}, replayed: ${answered['idempotent-replayed'] ?? 'no'}, ${payment}`,
  );
}
console.log(`swept: ${(await sweep()).deleted}`);
await (await cachedApplication()).close();
