import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

test('one invoice for each order, however often its job was delivered', async () => {
  const main = join(import.meta.dirname, '../dist/main.js');
  const { stdout } = await promisify(execFile)(process.execPath, [main], { env: { ...process.env, NO_COLOR: '1' } });
  const [, deliveries, invoices, orders] = /^(\d+) deliveries, (\d+) invoices: (.*)$/m.exec(stdout) ?? [];
  assert.ok(Number(deliveries) > 6, stdout);
  assert.equal(invoices, '4', stdout);
  assert.deepEqual(orders.split(', ').sort(), ['fails', 'first', 'last', 'slow']);
  assert.match(stdout, /fails: attempt 1[\s\S]*fails: attempt 2/);
  assert.doesNotMatch(stdout, /slow: attempt 2/);
});
