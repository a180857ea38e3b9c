import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

let folder;
let server;
let url;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'graphql-sample-'));
  const port = await freePort();
  url = `http://127.0.0.1:${port}/graphql`;
  server = spawn(process.execPath, [join(import.meta.dirname, '../dist/main.js')], {
    env: { ...process.env, PORT: String(port), DATABASE_FILE: join(folder, 'payments.sqlite') },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  while (!(await fetch(url).catch(() => undefined))) {
    assert.equal(server.exitCode, null, 'the server did not come up');
    await sleep(50);
  }
});

after(async () => {
  if (server?.kill()) await once(server, 'exit');
  await rm(folder, { recursive: true, force: true });
});

async function ask(query, key) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(key && { 'Idempotency-Key': key }) },
    body: JSON.stringify({ query }),
  });
  return answer.json();
}

const field = (order, amount) => `pay(input: { order: "${order}", amount: ${amount} }) { id amount }`;
const pay = (key, order, amount = 500) => ask(`mutation { ${field(order, amount)} }`, key);

async function paymentsOf(order) {
  const { data } = await ask('{ payments { id order } }');
  return data.payments.filter((payment) => payment.order === order).map(({ id }) => id);
}

test('a retry gets the same payment', async () => {
  const key = randomUUID();
  const first = await pay(key, 'retried');
  assert.equal(first.data.pay.amount, 500);
  assert.deepEqual(await pay(key, 'retried'), first);
  assert.deepEqual(await paymentsOf('retried'), [first.data.pay.id]);
});

test('ten at once make one payment', async () => {
  const key = randomUUID();
  const answers = await Promise.all(Array.from({ length: 10 }, () => pay(key, 'raced')));
  assert.deepEqual(
    answers.filter(({ errors }) => errors),
    [],
  );
  assert.deepEqual(await paymentsOf('raced'), [...new Set(answers.map(({ data }) => data.pay.id))]);
});

test('another amount under the same key is refused', async () => {
  const key = randomUUID();
  await pay(key, 'changed', 500);
  const { data, errors } = await pay(key, 'changed', 600);
  assert.equal(data, null);
  assert.equal(errors[0].extensions.code, 'key-reused');
  assert.equal((await paymentsOf('changed')).length, 1);
});

test('two fields under one key are two payments, and a retry finds both', async () => {
  const key = randomUUID();
  const both = `mutation { first: ${field('split', 100)} second: ${field('split', 100)} }`;
  const { data } = await ask(both, key);
  assert.deepEqual(await ask(both, key), { data });
  assert.notEqual(data.first.id, data.second.id);
  assert.deepEqual(new Set(await paymentsOf('split')), new Set([data.first.id, data.second.id]));
  assert.equal((await paymentsOf('split')).length, 2);
});

async function freePort() {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address();
  listening.close();
  return port;
}
