import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Controller, Param, Post } from '@nestjs/common';
import { Heartbeats } from '../../../lib/engine/heartbeats.js';
import type { WakeUp } from '../../../lib/engine/ports/wake-up.js';
import { IdempotencyService, Idempotent } from '../../../lib/index.js';
import { RedisWakeUp } from '../../../lib/lock/redis-wake-up.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { Deadlines } from '../../../lib/store/deadline.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import { GroupCommit } from '../../../lib/store/group-commit.js';
import { Sweeper } from '../../../lib/store/sweeper.js';
import { PostgresWakeUp } from '../../../lib/store/postgres-wake-up.js';
import { startApp } from '../../conformance/support/app.js';
import { send } from '../../conformance/support/raw-http.js';
import { startRedis } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { anId, LockFixture, VERSIONS } from '../lock/support.js';
import { aClaim, backendOf, StoreFixture } from './support.js';

/** An application's own, as of a logger that writes the id of the request with each line. */
const requestId = new AsyncLocalStorage<string>();

/** Resolves with the request that `listener` is called in. */
function callOf(subscribe: (listener: () => void) => unknown): Promise<string | undefined> {
  return new Promise((resolve) => subscribe(() => resolve(requestId.getStore())));
}

/** Resolves with the request that a waiter is woken in, which subscribed in the first one. */
async function wokenBy(wakeUp: WakeUp, recordId: string): Promise<string | undefined> {
  let subscribed!: Promise<unknown>;
  const woken = callOf((wake) => (subscribed = requestId.run('first', () => wakeUp.subscribe(recordId, wake))));
  await subscribed;
  await wakeUp.announce(recordId);
  return woken;
}

describe('what one request opens for all of them does not keep its async context', () => {
  it('heartbeats', async () => {
    const heartbeats = new Heartbeats();
    const beat = callOf((listener) => requestId.run('first', () => heartbeats.schedule({ beat: listener }, 1)));
    // The timer alone does not keep the process alive.
    const alive = setInterval(() => undefined, 1_000);
    expect(await beat).toBeUndefined();
    clearInterval(alive);
  });

  it('deadlines', async () => {
    const alive = setInterval(() => undefined, 1_000);
    for (const first of ['first', 'second']) {
      const expired = await callOf((listener) => requestId.run(first, () => new Deadlines(1, listener).add(first)));
      expect(expired).toBeUndefined();
    }
    clearInterval(alive);
  });

  // As of an application that is created for the first request of a function on a serverless platform.
  it('sweeps', async () => {
    const alive = setInterval(() => undefined, 1_000);
    const sweeps: (string | undefined)[] = [];
    const sweep = async () => sweeps.push(requestId.getStore());
    const sweeper = new Sweeper(sweep, () => undefined);
    requestId.run('first', () => sweeper.start({ everyMs: 1, batch: 1_000 }));
    await until(() => sweeps.length >= 2);
    sweeper.stop();
    expect(new Set(sweeps)).toEqual(new Set([undefined]));
    clearInterval(alive);
  });

  it.each([
    ['postgres', 'connect'],
    ['mariadb', 'connection'],
  ] as const)('connections to %s', async (dialect, event) => {
    const fixture = await StoreFixture.open(backendOf(dialect));
    const { driver } = fixture.dataSource as unknown as { driver: Record<'master' | 'pool', NodeJS.EventEmitter> };
    const pool = driver.master ?? driver.pool;
    const connected = callOf((listener) => pool.on(event, listener));
    const store = fixture.store();
    await requestId.run('first', () => store.claim(aClaim()));
    expect(await connected).toBeUndefined();
    await fixture.close();
  });

  it('the connection that PostgreSQL wakes waiters by', async () => {
    const fixture = await StoreFixture.open(backendOf('postgres'));
    const connector = connectorFor(fixture.dataSource, 2) as Connector<PgConnection>;
    const wakeUp = new PostgresWakeUp(fixture.dataSource, connector);
    expect(await wokenBy(wakeUp, randomUUID())).toBeUndefined();
    await wakeUp.close();
    await connector.close?.();
    await fixture.close();
  });

  it('the connection that Redis wakes waiters by', async () => {
    const server = await startRedis();
    const lock = new LockFixture();
    const wakeUp = new RedisWakeUp(await lock.connect(VERSIONS[0], [server.port]));
    expect(await wokenBy(wakeUp, anId())).toBeUndefined();
    await wakeUp.close();
    await lock.close();
    await server.dispose();
  });
});

describe('a batch', () => {
  it.each([
    [1, 1, ['first', 'second', 'third', 'fourth', 'last']],
    [2, 1, ['first', 'third', 'last']],
    [3, 1, ['first', 'fourth', 'last']],
    [3, 2, ['first', 'fourth', 'last']],
    // As on MySQL.
    [1, Infinity, ['first', 'second', 'third', 'fourth', 'last']],
  ])(
    'of at most %i, %s at once, runs in the context of a request that is in it',
    async (maxBatch, inFlight, expected) => {
      const seen: (string | undefined)[] = [];
      const run = async (items: readonly { recordId: string }[]) => {
        seen.push(requestId.getStore());
        expect(items.map(({ recordId }) => recordId)).toContain(requestId.getStore());
        return items;
      };
      const settings = { maxBatch, inFlight, patienceMs: 60_000, isCommon: () => false };
      const batches = new GroupCommit(run, settings, (row: { recordId: string }) => row);
      const add = (name: string) => requestId.run(name, () => batches.add({ recordId: name }));
      await Promise.all(['first', 'second', 'third', 'fourth'].map(add));
      await add('last');
      expect(seen).toEqual(expected);
    },
  );

  it('that waits for another runs in the async context of its own request', async () => {
    const gate = newGate();
    const seen: (string | undefined)[] = [];
    const run = async (items: readonly { recordId: string }[]) => {
      seen.push(requestId.getStore());
      await gate.opened;
      return items;
    };
    const settings = { maxBatch: 10, inFlight: 1, patienceMs: 60_000, isCommon: () => false };
    const batches = new GroupCommit(run, settings, (row: { recordId: string }) => row);
    const add = (name: string) => requestId.run(name, () => batches.add({ recordId: name }));
    const answers = [add('first')];
    await until(() => seen.length === 1);
    answers.push(add('second'), add('third'));
    gate.open();
    await Promise.all(answers);
    expect(seen).toEqual(['first', 'second']);
  });
});

describe('what a heartbeat finds', () => {
  it('is reported in the async context of its own request', async () => {
    const gates = [newGate(), newGate()];
    let begun = 0;
    @Controller()
    class PaymentsController {
      @Post('pay/:at')
      @Idempotent({ lease: '1s' })
      async pay(@Param('at') at: string) {
        begun++;
        await gates[Number(at)].opened;
        return {};
      }
    }
    const app = await startApp('express', {
      controllers: [PaymentsController],
      configure: (nest) =>
        void nest.use((request: IncomingMessage, _: unknown, next: () => void) => requestId.run(request.url!, next)),
    });
    const lost = new Map<string, string | undefined>();
    app.app.get(IdempotencyService).events$.subscribe(({ type, recordId }) => {
      if (type === 'leaseLost') lost.set(recordId, requestId.getStore());
    });
    const payments = gates.map((_, at) => send(app.port, { path: `/pay/${at}`, key: randomUUID() }));
    await until(() => begun === 2);
    await app.dataSource.query(`UPDATE idempotency_record SET token = token + 1`);
    await until(() => lost.size === 2);
    expect(new Set(lost.values())).toEqual(new Set(['/pay/0', '/pay/1']));
    for (const { open } of gates) open();
    await Promise.all(payments);
    await app.close();
  });
});

function newGate() {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}
