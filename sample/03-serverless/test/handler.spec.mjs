import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

let folder;
before(async () => (folder = await mkdtemp(join(tmpdir(), 'serverless-sample-'))));
after(() => rm(folder, { recursive: true, force: true }));

/** A new instance each time, as after the platform has thrown the last one away. */
async function instance() {
  const main = join(import.meta.dirname, '../dist/main.js');
  const env = { ...process.env, DATABASE_FILE: join(folder, 'payments.sqlite'), DATABASE_URL: '' };
  const { stdout } = await promisify(execFile)(process.execPath, [main], { env });
  return stdout.trim().split('\n');
}

test('a retry is answered from the record, in the same instance and in the next', async () => {
  const [first, second, swept] = await instance();
  const payment = /\{.*\}/.exec(first)?.[0];
  assert.match(first, /^attempt 1: 201, replayed: no, \{"id":"[0-9a-f-]{36}","amount":100\}$/);
  assert.equal(second, `attempt 2: 201, replayed: true, ${payment}`);
  assert.equal(swept, 'swept: 0');
  assert.equal((await instance())[0], `attempt 1: 201, replayed: true, ${payment}`);
});
