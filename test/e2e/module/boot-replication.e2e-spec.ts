import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { Idempotent } from '../../../lib/index.js';
import { startApp } from '../../conformance/support/app.js';
import { send } from '../../conformance/support/raw-http.js';
import { type TestDatabase } from '../../support/database.js';
import { startMariadb } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

@Controller('orders')
class OrdersController {
  @Post()
  @Idempotent({ transactional: true })
  order() {
    return { ordered: true };
  }
}

const WARNING = /^WARN The data source has `replication` without `restoreNodeTimeout`/;

// After a restart of the primary, each transactional operation got 503 for as long as the process lived.
test.each([
  ['without restoreNodeTimeout, is named at boot', undefined],
  ['with it, is asked again after a restart', 100],
])('A primary of MySQL and MariaDB, %s', async (_how, restoreNodeTimeout) => {
  const server = await startMariadb();
  const node = { host: '127.0.0.1', port: server.port, username: 't', password: 't', database: 'test' };
  const options = { type: 'mariadb', replication: { master: node, slaves: [node], restoreNodeTimeout } } as never;
  const database: TestDatabase = { dialect: 'mariadb', options, drop: () => server.dispose() };
  try {
    const app = await startApp('express', { database, controllers: [OrdersController] });
    try {
      expect(app.log.lines).toEqual(restoreNodeTimeout ? [] : [expect.stringMatching(WARNING)]);
      if (!restoreNodeTimeout) return;
      const order = async (key = randomUUID()) => (await send(app.port, { path: '/orders', key, body: {} })).status;
      expect(await order()).toBe(201);
      await server.stop();
      // One more than mysql2 forgives.
      for (let i = 0; i < 6; i++) expect(await order()).toBe(503);
      await server.start();
      const key = randomUUID();
      await until(async () => (await order(key)) === 201);
    } finally {
      await app.close();
    }
  } finally {
    await server.dispose();
  }
});
