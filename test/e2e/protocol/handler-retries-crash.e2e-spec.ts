import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppProcess } from '../../support/app-process.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('kill -9 in a further call, on %s', (dialect) => {
  let database: TestDatabase;
  let folder: string;
  let other: AppProcess;

  const start = (env: Record<string, string> = {}) =>
    AppProcess.start('handler-retries-app', {
      DATABASE: JSON.stringify(database.options),
      CHARGES: join(folder, 'charges'),
      ...env,
    });

  beforeAll(async () => {
    database = await createDatabase(dialect);
    folder = await mkdtemp(join(tmpdir(), 'idempotency-again-'));
    other = await start();
  });
  afterAll(async () => {
    await other?.stop();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  test.each(['1', '2', '3'])('in call %s: charged once, and written once, by the one that takes over', async (dies) => {
    const victim = await start({ DIES_IN: dies, SYNCHRONIZE: 'off' });
    const [key, name] = [randomUUID(), randomUUID()];
    await expect(call(`${victim.url}/pay`, { key, body: { name } })).rejects.toThrow();
    const answer = await callUntilDefinitive([`${other.url}/pay`], { key, body: { name } });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([201, { attempt: 2, call: 3 }]);
    const payments = JSON.parse((await call(`${other.url}/payments`, { method: 'GET' })).body) as string[];
    expect(payments.filter((id) => id.startsWith(name))).toEqual([`${name} 2 3`]);
    const charges = (await readFile(join(folder, 'charges'), 'utf8')).split('\n').filter((line) => line === name);
    expect(charges).toHaveLength(1);
    await victim.stop();
  });
});
