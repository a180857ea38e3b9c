import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import { PostgresWakeUp } from '../../../lib/store/postgres-wake-up.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { TcpProxy } from '../../support/proxy.js';
import { startPgBouncer } from '../../support/servers.mjs';
import { stopwatch } from '../../support/stopwatch.js';
import { until } from '../../support/until.js';

let database: TestDatabase<'postgres'>;
let proxy: TcpProxy;
/** Straight to the server. */
let direct: DataSource;
let there: PostgresWakeUp;
const opened: DataSource[] = [];
const connectors: Connector[] = [];

async function open(port?: number): Promise<DataSource> {
  const dataSource = await new DataSource({
    ...database.options,
    entities: [...IDEMPOTENCY_ENTITIES],
    ...(port && { port }),
  }).initialize();
  opened.push(dataSource);
  return dataSource;
}

function wakeUpOf(dataSource: DataSource): PostgresWakeUp {
  const connector = connectorFor(dataSource, 4) as Connector<PgConnection>;
  connectors.push(connector);
  return new PostgresWakeUp(dataSource, connector);
}

/** A waiting process, whose connections go through the proxy. */
let here: PostgresWakeUp;
let throughProxy: DataSource;

beforeAll(async () => {
  database = await createDatabase('postgres');
  proxy = await TcpProxy.listen(database.options.port!);
  direct = await open();
  await direct.synchronize();
  throughProxy = await open(proxy.port);
  there = wakeUpOf(direct);
});
beforeEach(() => void (here = wakeUpOf(throughProxy)));
afterEach(async () => {
  await proxy.refuse(false);
  await here.close();
});
afterAll(async () => {
  for (const connector of connectors) await connector.close?.();
  for (const dataSource of opened) await dataSource.destroy().catch(() => undefined);
  await proxy?.close();
  await database?.drop();
});

async function listeners(): Promise<number[]> {
  const rows = (await direct.query(
    `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`,
  )) as { pid: number }[];
  return rows.map(({ pid }) => pid);
}

/** The pool whose settings the listening connection takes. */
function masterOf(dataSource: DataSource) {
  return (dataSource.driver as unknown as { master: { Client: new (options: object) => object } }).master;
}

/** Counts the calls for a record. */
function counter() {
  let calls = 0;
  return { wake: () => void calls++, calls: () => calls };
}

it('wakes those that wait for a record, and no others', async () => {
  const [one, another] = [randomUUID(), randomUUID()];
  const [a, b, c] = [counter(), counter(), counter()];
  const first = await here.subscribe(one, a.wake);
  await here.subscribe(one, b.wake);
  await here.subscribe(another, c.wake);
  await there.announce(one);
  await until(() => a.calls() === 1 && b.calls() === 1);
  first.close();
  first.close();
  await there.announce(one);
  await until(() => b.calls() === 2);
  expect([a.calls(), b.calls(), c.calls()]).toEqual([1, 2, 0]);
});

it('listens on one connection for all that wait, and closes it in the end', async () => {
  await Promise.all(Array.from({ length: 5 }, () => here.subscribe(randomUUID(), () => undefined)));
  expect(await listeners()).toHaveLength(1);
  await here.close();
  await here.close();
  await until(async () => (await listeners()).length === 0);
});

it('does not keep the process alive once no request waits', async () => {
  // Those that keep the event loop running, so without idle connections of the store.
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  const listening = wakeUpOf(direct);
  await direct.query('SELECT 1');
  const before = sockets();
  const subscription = await listening.subscribe(randomUUID(), () => undefined);
  subscription.close();
  expect(sockets()).toBeLessThanOrEqual(before);
  expect(await listeners()).toHaveLength(1);
  await listening.close();
});

it('does not come back once it was closed, though a request still waits', async () => {
  await here.subscribe(randomUUID(), () => undefined);
  await here.close();
  await sleep(300);
  expect(await listeners()).toEqual([]);
});

it('is closed though it was never opened', async () => {
  await expect(wakeUpOf(direct).close()).resolves.toBeUndefined();
});

it('keeps the connection for a moment where no request waits any more', async () => {
  (await here.subscribe(randomUUID(), () => undefined)).close();
  const [pid] = await listeners();
  await here.subscribe(randomUUID(), () => undefined);
  expect(await listeners()).toEqual([pid]);
});

it('listens again after a loss, and has everybody look, as announcements were lost', async () => {
  const [one, another] = [counter(), counter()];
  const recordId = randomUUID();
  await here.subscribe(recordId, one.wake);
  await here.subscribe(randomUUID(), another.wake);
  proxy.cut();
  await until(() => one.calls() > 0 && another.calls() > 0);
  const before = one.calls();
  await there.announce(recordId);
  await until(() => one.calls() > before);
  expect(await listeners()).toHaveLength(1);
});

it('tries again from time to time where the database stays away, and hears it come back', async () => {
  const waiting = counter();
  const recordId = randomUUID();
  await here.subscribe(recordId, waiting.wake);
  const attempts = jest.spyOn(masterOf(throughProxy), 'Client');
  await proxy.refuse(true);
  proxy.cut();
  await sleep(1_500);
  // About one a second.
  expect(attempts.mock.calls.length).toBeGreaterThan(0);
  expect(attempts.mock.calls.length).toBeLessThan(5);
  attempts.mockRestore();
  await proxy.refuse(false);
  await until(() => waiting.calls() > 0);
  const before = waiting.calls();
  await there.announce(recordId);
  await until(() => waiting.calls() > before);
});

it('does not listen again where no request waits', async () => {
  (await here.subscribe(randomUUID(), () => undefined)).close();
  proxy.cut();
  await until(async () => (await listeners()).length === 0);
  await sleep(200);
  expect(await listeners()).toEqual([]);
});

it('says that it cannot be reached, and works once it can be', async () => {
  await proxy.refuse(true);
  const recordId = randomUUID();
  const [deaf, heard] = [counter(), counter()];
  await expect(here.subscribe(recordId, deaf.wake)).rejects.toThrow('ECONNREFUSED');
  await proxy.refuse(false);
  await here.subscribe(recordId, heard.wake);
  await there.announce(recordId);
  await until(() => heard.calls() === 1);
  expect(deaf.calls()).toBe(0);
});

it('lets a request look at its record where the server is silent', async () => {
  const recordId = randomUUID();
  const waiting = counter();
  proxy.blackhole(true);
  try {
    await expect(here.subscribe(recordId, waiting.wake)).rejects.toThrow('no answer within');
  } finally {
    proxy.blackhole(false);
  }
  await here.subscribe(recordId, waiting.wake);
  await there.announce(recordId);
  await until(() => waiting.calls() === 1);
});

it('is closed though a gateway has forgotten its connection', async () => {
  await here.subscribe(randomUUID(), () => undefined);
  const { stream } = (await here['connection'])!.connection!;
  proxy.forget();
  await here.close();
  expect(stream).toMatchObject({ destroyed: true });
});

it('listens again where the store has found its connections silent', async () => {
  const waiting = counter();
  await here.subscribe(randomUUID(), waiting.wake);
  proxy.forget();
  const forgotten = await listeners();
  here['connector'].dropIdle!();
  await until(() => waiting.calls() > 0);
  expect((await listeners()).filter((pid) => !forgotten.includes(pid))).toHaveLength(1);
});

it('announces without an error where the database is away', async () => {
  const gone = await open();
  const silent = wakeUpOf(gone);
  await gone.destroy();
  await expect(silent.announce(randomUUID())).resolves.toBeUndefined();
});

it('is not believed behind a pooler in transaction mode, which is said once', async () => {
  const bouncer = await startPgBouncer(database.options.port!, ['default_pool_size = 4']);
  const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
  try {
    const pooled = wakeUpOf(await open(bouncer.port));
    const heard = counter();
    await expect(pooled.subscribe(randomUUID(), heard.wake)).rejects.toThrow('announcements are not heard');
    const took = stopwatch();
    await expect(pooled.subscribe(randomUUID(), heard.wake)).rejects.toThrow('announcements are not heard');
    // It is not tried again for each that waits.
    expect(took()).toBeLessThan(500);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('NOTIFY is not heard'));
    await pooled.close();
  } finally {
    warn.mockRestore();
    for (const dataSource of opened.splice(2)) await dataSource.destroy().catch(() => undefined);
    await bouncer.dispose();
  }
});
