/** Plays the platform: two events with one key, in one instance. */
import { cachedApplication } from './application.js';
import { handler } from './handler.js';
import { sweep } from './sweep.js';

const headers = { 'content-type': 'application/json', 'idempotency-key': process.argv[2] ?? 'k1' };
const event = { httpMethod: 'POST', path: '/payments', headers, body: '{"amount":100}' } as const;

for (const attempt of [1, 2]) {
  const { statusCode, headers: answered, body } = await handler(event);
  console.log(`attempt ${attempt}: ${statusCode}, replayed: ${answered['idempotent-replayed'] ?? 'no'}, ${body}`);
}
console.log(`swept: ${(await sweep()).deleted}`);
await (await cachedApplication()).close();
