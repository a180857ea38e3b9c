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
  folder = await mkdtemp(join(tmpdir(), 'fastify-sample-'));
  const port = await freePort();
  url = `http://127.0.0.1:${port}/bookings`;
  server = spawn(process.execPath, [join(import.meta.dirname, '../dist/main.js')], {
    env: { ...process.env, PORT: String(port), DATABASE_FILE: join(folder, 'bookings.sqlite') },
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

const book = (key, room) =>
  fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
    body: JSON.stringify({ room }),
  });

test('ten at once make one booking', async () => {
  const key = randomUUID();
  const answers = await Promise.all(Array.from({ length: 10 }, () => book(key, 'blue')));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
  assert.equal(answers.filter(({ headers }) => headers.get('Idempotent-Replayed') === 'true').length, 9);
  assert.equal(new Set(await Promise.all(answers.map((answer) => answer.text()))).size, 1);
  assert.equal((await (await fetch(url)).json()).length, 1);
});

test('another room under the same key is refused', async () => {
  const key = randomUUID();
  await book(key, 'red');
  const answer = await book(key, 'green');
  assert.equal(answer.status, 422);
  assert.equal((await answer.json()).code, 'key-reused');
});

async function freePort() {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const { port } = listening.address();
  listening.close();
  return port;
}
