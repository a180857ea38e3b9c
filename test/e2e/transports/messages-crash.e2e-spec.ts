import { randomUUID } from 'node:crypto';
import { type ClientProxy, ClientProxyFactory, Transport } from '@nestjs/microservices';
import { lastValueFrom, timeout } from 'rxjs';
import { AppProcess, type Environment } from '../../support/app-process.js';
import { began } from '../../support/cluster.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';

const LEASE = 500;

describe.each(['postgres', 'mariadb'] as const)('message handlers after kill -9 on %s', (dialect) => {
  let database: TestDatabase;
  let survivor: AppProcess;
  let client: ClientProxy;
  const started: AppProcess[] = [];
  const clients: ClientProxy[] = [];

  async function start(env: Environment = {}) {
    const options = { host: '127.0.0.1', port: await freePort() };
    const app = await AppProcess.start('messages-app', {
      DATABASE: JSON.stringify(database.options),
      OPTIONS: JSON.stringify({ lease: LEASE, audit: 'off', key: undefined }),
      TRANSPORT: JSON.stringify({ transport: Transport.TCP, options }),
      ...env,
    });
    started.push(app);
    const toIt: ClientProxy = ClientProxyFactory.create({ transport: Transport.TCP, options });
    clients.push(toIt);
    return { app, client: toIt };
  }

  beforeAll(async () => {
    database = await createDatabase(dialect);
    ({ app: survivor, client } = await start());
  });

  afterAll(async () => {
    await Promise.all(clients.map((one) => one.close()));
    await Promise.all(started.map((app) => app.stop()));
    await database?.drop();
  });

  const ask = <T>(to: ClientProxy, pattern: string, message: unknown) =>
    lastValueFrom(to.send<T>(pattern, message).pipe(timeout(25_000)));
  const message = (name: string, more: object = {}) => ({
    id: randomUUID(),
    source: 'test',
    specversion: '1.0',
    name,
    ...more,
  });
  const effects = async (name: string) =>
    JSON.parse((await call(`${survivor.url}/effects?name=${name}`, { method: 'GET' })).body) as { attempt: number }[];

  /** Sends a message to a process that dies while it works on it. */
  async function lose(pattern: string, task: { name: string; dieBefore?: string }) {
    const victim = await start({ SYNCHRONIZE: 'off' });
    const lost = ask(victim.client, pattern, task).catch(() => 'lost');
    if (!task.dieBefore) {
      await began(victim.app, task.name);
      await victim.app.stop('SIGKILL');
    }
    expect(await lost).toBe('lost');
  }

  test('a message that is sent again takes over, waiting for the lease to run out', async () => {
    const task = message('taken-over', { before: 400 });
    await lose('charge', task);
    expect(await ask(client, 'charge', task)).toEqual({ name: 'taken-over', attempt: 2 });
    expect(await ask(client, 'charge', task)).toEqual({ name: 'taken-over', attempt: 2 });
    expect(await effects('taken-over')).toMatchObject([{ attempt: 2 }]);
  });

  test('hold: the outcome is unknown until someone resolves it', async () => {
    const task = message('held', { before: 400 });
    await lose('fax', task);
    await expect(ask(client, 'fax', task)).rejects.toMatchObject({
      code: 'outcome-unknown',
      status: 409,
      retryable: false,
    });
    const messages = survivor.messages as { event?: { type: string; recordId: string } }[];
    const event = messages.findLast(({ event }) => event?.type === 'held')!.event!;
    await call(`${survivor.url}/records/${event.recordId}/release`);
    expect(await ask(client, 'fax', task)).toEqual({ name: 'held', attempt: 2 });
  });

  test('steps that completed are not run again', async () => {
    const task = message('steps', { dieBefore: 'charge' });
    await lose('checkout', task as never);
    expect(await ask(client, 'checkout', task)).toEqual({ attempt: 2 });
    expect(await effects('steps reserve')).toMatchObject([{ attempt: 1 }]);
    expect(await effects('steps charge')).toMatchObject([{ attempt: 2 }]);
  });
});
