import { randomUUID } from 'node:crypto';
import { AppProcess } from '../../support/app-process.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('@nestjs-cls/transactional on %s', (dialect) => {
  let database: TestDatabase;
  let app: AppProcess;

  beforeAll(async () => {
    database = await createDatabase(dialect);
    app = await AppProcess.start('cls-app', { DATABASE: JSON.stringify(database.options) });
  });

  afterAll(async () => {
    await app?.stop();
    await database?.drop();
  });

  test('injected repositories write in the transaction that the outcome commits with', async () => {
    const url = `${app.url}/bookings`;
    const key = randomUUID();
    const first = await call(url, { key, body: { room: 'blue' } });
    expect(first.status).toBe(201);
    expect((await call(url, { key, body: { room: 'blue' } })).body).toBe(first.body);
    expect((await call(url, { key: randomUUID(), body: { room: 'red', fail: true } })).status).toBe(500);
    expect((await call(url, { method: 'GET' })).body).toBe('["blue"]');
  });
});
