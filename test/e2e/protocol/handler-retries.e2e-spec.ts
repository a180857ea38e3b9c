import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { type CallHandler, Controller, type NestInterceptor, Post, UseInterceptors } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { defer, from, lastValueFrom, mergeMap } from 'rxjs';
import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../../lib/index.js';
import { type AppSettings, type RunningApp, startApp } from '../../conformance/support/app.js';
import { codeOf, comparable, isReplay } from '../../conformance/support/cases.js';
import { type RawAnswer, type RawRequest, send } from '../../conformance/support/raw-http.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';

// A name of its own: @nestjs/typeorm knows the entities of all spec files that share a process.
@Entity('retried_entry')
class Entry {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'int' }) amount!: number;
}

/** The calls of each handler, one after the other; the last one for all that come after it. */
type Calls = readonly ((execution: Execution) => unknown)[];

/** What the handlers of the next requests do, and their results. */
let stage: {
  readonly calls: Calls;
  readonly begun: WeakMap<Execution, number>;
  count: number;
  readonly errors: unknown[];
};

const play = (...calls: Calls) => (stage = { calls, begun: new WeakMap(), count: 0, errors: [] });

function call(execution: Execution): unknown {
  const { calls, begun } = stage;
  const before = begun.get(execution) ?? 0;
  begun.set(execution, before + 1);
  stage.count++;
  return calls[Math.min(before, calls.length - 1)](execution);
}

/** Calls what is inside of it again where it fails: once for each call that is played. */
const retrying: NestInterceptor = { intercept: (_context, next) => from(tryAgain(next)) };

async function tryAgain(next: CallHandler): Promise<unknown> {
  for (let left = stage.calls.length - 1; ; left--) {
    try {
      return await lastValueFrom(next.handle());
    } catch (error) {
      stage.errors.push(error);
      if (left === 0) throw error;
    }
  }
}

/** What an interceptor around the handler has put into its context. */
const around = new AsyncLocalStorage<string>();
const within: NestInterceptor = { intercept: (_context, next) => around.run('kept', () => next.handle()) };

/** Does the work that the handler has left to it. */
const working: NestInterceptor = {
  intercept: (_context, next) => next.handle().pipe(mergeMap(async (work: () => unknown) => work())),
};

@Controller('again')
class AgainController {
  @Post('tx')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true })
  transactional(@IdempotentExecution() execution: Execution) {
    return call(execution);
  }

  @Post('around')
  @UseInterceptors(within, retrying)
  @Idempotent({ transactional: true })
  around(@IdempotentExecution() execution: Execution) {
    return call(execution);
  }

  /** Leaves its work to an interceptor. */
  @Post('work')
  @UseInterceptors(retrying, working)
  @Idempotent({ transactional: true })
  work(@IdempotentExecution() execution: Execution) {
    return () => call(execution);
  }

  @Post('stream')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true })
  stream(@IdempotentExecution() execution: Execution) {
    return defer(async () => call(execution));
  }

  @Post('recursive')
  @Idempotent({ transactional: true })
  async recursive(@IdempotentExecution() execution: Execution, depth = 0): Promise<unknown> {
    await write(execution, `depth ${depth}`);
    await execution.step(`charge ${depth}`, () => depth);
    return depth < 2 ? this.recursive(execution, depth + 1) : { depth };
  }

  @Post('recursive-plain')
  @Idempotent()
  async recursivePlain(@IdempotentExecution() execution: Execution, depth = 0): Promise<unknown> {
    await execution.step(`charge ${depth}`, () => depth);
    return depth < 2 ? this.recursivePlain(execution, depth + 1) : { depth };
  }

  @Post('brief')
  @UseInterceptors(retrying)
  @Idempotent({ transactional: true, lease: '1s' })
  brief(@IdempotentExecution() execution: Execution) {
    return call(execution);
  }

  @Post('plain')
  @UseInterceptors(retrying)
  @Idempotent()
  plain(@IdempotentExecution() execution: Execution) {
    return call(execution);
  }
}

const settings: AppSettings = { controllers: [AgainController], imports: [TypeOrmModule.forFeature([Entry])] };

const unhandled: unknown[] = [];
const note = (reason: unknown) => void unhandled.push(reason);
beforeAll(() => void process.on('unhandledRejection', note));
afterAll(() => void process.off('unhandledRejection', note));

let app: RunningApp;
let service: IdempotencyService;

async function open(more: AppSettings = {}): Promise<void> {
  app = await startApp('express', { ...settings, ...more });
  service = app.app.get(IdempotencyService);
}

type Asked = RawRequest & { key: string };

const to = (path: string): Asked => ({ path: `/again/${path}`, key: randomUUID(), body: {} });
const ask = (request: RawRequest) => send(app.port, request);
const write = ({ manager, key }: Execution, what: string) => manager.insert(Entry, { id: `${what} ${key}`, amount: 1 });
const statusOf = async ({ path, key }: Asked) => (await service.find({ key, operation: `POST ${path}` }))?.status;

/** What has been written under a key. */
const entriesOf = async ({ key }: Asked) =>
  (await app.dataSource.getRepository(Entry).find())
    .filter(({ id }) => id.endsWith(key))
    .map(({ id }) => id.replace(` ${key}`, ''))
    .sort();

/** As a client that retries: until the key is no longer taken, nor the store away. */
async function retry(request: RawRequest): Promise<RawAnswer> {
  let answer!: RawAnswer;
  await until(async () => {
    answer = await ask(request);
    return !['in-progress', 'store-unavailable'].includes(String(codeOf(answer)));
  });
  return answer;
}

const fail = () => {
  throw new Error('ECONNRESET');
};

/** Has the server close the connection of a transaction. */
async function killConnection({ queryRunner }: EntityManager, dialect: TestDialect): Promise<void> {
  const [{ id }] = (await queryRunner!.query(
    dialect === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id',
  )) as { id: number }[];
  await app.dataSource.query(dialect === 'postgres' ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`);
  // The next statement meets it, if not the one before.
  await until(() =>
    queryRunner!.query('SELECT 1').then(
      () => false,
      () => true,
    ),
  );
}

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  'a handler that is called again, on %s',
  (dialect) => {
    beforeAll(() => open({ dialect }));
    afterAll(() => app?.close());

    const expectReplay = async (request: RawRequest, first: RawAnswer) => {
      const replay = await ask(request);
      expect([isReplay(replay), comparable(replay)]).toEqual([true, comparable(first)]);
    };

    it.each(['tx', 'plain', 'work', 'stream'])('takes the result of a step from the call before: %s', async (path) => {
      let charges = 0;
      const charge = (execution: Execution) => execution.step('charge', () => ++charges);
      play(
        async (execution) => {
          await charge(execution);
          fail();
        },
        async (execution) => {
          const charged = await charge(execution);
          await expect(charge(execution)).rejects.toThrow('named twice');
          await execution.step('mail', () => charges);
          fail();
          return charged;
        },
        async (execution) => ({ charged: await charge(execution) }),
      );
      const request = to(path);
      const first = await ask(request);
      expect([first.status, first.body.toString(), charges]).toEqual([201, '{"charged":1}', 1]);
      await expectReplay(request, first);
    });

    it.each(['recursive', 'recursive-plain'])('is not called again by itself: %s', async (path) => {
      const request = to(path);
      const first = await ask(request);
      expect([first.status, first.body.toString()]).toEqual([201, '{"depth":2}']);
      await expectReplay(request, first);
      if (path === 'recursive') expect(await entriesOf(request)).toEqual(['depth 0', 'depth 1', 'depth 2']);
    });

    it('keeps for later attempts what the steps of each call came to', async () => {
      let charges = 0;
      const charge = (execution: Execution) => execution.step('charge', () => ++charges);
      const failing = async (execution: Execution) => {
        await charge(execution);
        await write(execution, 'undone');
        fail();
      };
      const request = to('tx');
      play(failing, failing);
      expect((await ask(request)).status).toBe(500);
      play(async (execution) => ({ attempt: execution.attempt, charged: await charge(execution) }));
      expect((await ask(request)).body.toString()).toBe('{"attempt":2,"charged":1}');
      expect(await entriesOf(request)).toEqual([]);
    });

    it('waits for a step that the call before has left running', async () => {
      let charges = 0;
      let finish!: () => void;
      const finished = new Promise<void>((resolve) => (finish = resolve));
      const charge = (execution: Execution) =>
        execution.step('charge', async () => {
          charges++;
          await finished;
          return charges;
        });
      play(
        async (execution) => {
          void charge(execution).catch(() => undefined);
          await until(() => charges > 0);
          fail();
        },
        (execution) => {
          setTimeout(finish);
          return charge(execution);
        },
      );
      const answer = await ask(to('tx'));
      expect([answer.status, answer.body.toString(), charges]).toEqual([201, '1', 1]);
    });

    it.each(['tx', 'plain'])('is stored, though the call before was not to be: %s', async (path) => {
      play(
        (execution) => {
          execution.doNotStore();
          execution.setRetention(1);
          fail();
        },
        () => ({ paid: true }),
      );
      const request = to(path);
      const first = await ask(request);
      expect(first.status).toBe(201);
      await expectReplay(request, first);
    });

    it('runs in the async context that interceptors have made, and in its transaction', async () => {
      play(fail, async (execution) => {
        const nested = service.run({ key: execution.key, operation: 'within' }, () => 'within');
        // On a single connection, the one would wait for the other.
        if (dialect === 'better-sqlite3') await expect(nested).rejects.toThrow('POST /again/around');
        else expect(await nested).toBe('within');
        await write(execution, 'second');
        return { around: around.getStore() };
      });
      const request = to('around');
      const answer = await ask(request);
      expect([answer.status, answer.body.toString()]).toEqual([201, '{"around":"kept"}']);
      expect(await entriesOf(request)).toEqual(['second']);
    });

    it('is not stored, if it says so itself', async () => {
      play(fail, async (execution) => {
        execution.doNotStore();
        await write(execution, 'second');
      });
      const request = to('tx');
      expect((await ask(request)).status).toBe(201);
      expect([await entriesOf(request), await statusOf(request)]).toEqual([[], 'failed']);
    });

    it('has nothing in its transaction of what the call before has left running', async () => {
      let goOn!: () => void;
      const gone = new Promise<void>((resolve) => (goOn = resolve));
      let late: Promise<unknown> = Promise.resolve();
      play(
        (execution) => {
          late = gone.then(() => write(execution, 'late'));
          late.catch(() => undefined);
          fail();
        },
        async (execution) => {
          goOn();
          await expect(late).rejects.toThrow('a call of the handler that has ended');
          await write(execution, 'second');
        },
      );
      const request = to('tx');
      expect((await ask(request)).status).toBe(201);
      expect(await entriesOf(request)).toEqual(['second']);
    });
  },
);

describe.each(['postgres', 'mariadb'] as const)('a handler that is called again, on a server: %s', (dialect) => {
  beforeAll(() => open({ dialect }));
  afterAll(() => app?.close());

  it('does not begin where its record is gone by then', async () => {
    const request = to('brief');
    play(
      async (execution) => {
        await write(execution, 'first');
        const record = await service.find({ key: request.key, operation: `POST ${request.path}` });
        await service.forget(record!.id);
        await until(() => execution.signal.aborted);
        fail();
      },
      (execution) => write(execution, 'second'),
    );
    const answer = await ask(request);
    expect([answer.status >= 400, stage.count]).toEqual([true, 1]);
    await until(() => stage.errors.length === 2);
    expect(await entriesOf(request)).toEqual([]);
    play((execution) => write(execution, 'third'));
    expect((await retry(request)).status).toBe(201);
    expect(await entriesOf(request)).toEqual(['third']);
  });

  it('runs in a transaction that works where the server closed the connection of the one before', async () => {
    const request = to('tx');
    play(
      async (execution) => {
        await write(execution, 'first');
        await killConnection(execution.manager, dialect);
        await write(execution, 'never');
      },
      async (execution) => {
        await write(execution, 'second');
        return { call: 2 };
      },
    );
    const answer = await ask(request);
    expect([answer.status, answer.body.toString()]).toEqual([201, '{"call":2}']);
    expect([await entriesOf(request), await statusOf(request)]).toEqual([['second'], 'done']);
    expect(isReplay(await ask(request))).toBe(true);
  });

  it('runs in a transaction that works where the one before met a deadlock', async () => {
    const request = to('tx');
    const entries = app.dataSource.getRepository(Entry);
    const [a, b] = [`a ${randomUUID()}`, `b ${randomUUID()}`];
    await entries.insert([a, b].map((id) => ({ id, amount: 0 })));
    const add = (manager: EntityManager, id: string) => manager.increment(Entry, { id }, 'amount', 1);
    play(
      async (execution) => {
        const { manager } = execution;
        if (dialect === 'postgres') await manager.query("SET LOCAL deadlock_timeout = '20ms'");
        await add(manager, a);
        let isLocked!: () => void;
        const locked = new Promise<void>((resolve) => (isLocked = resolve));
        // It has written more, which is why MariaDB undoes the other one; and PostgreSQL the one that looks first.
        const other = app.dataSource.transaction(async (outer) => {
          await outer.insert(
            Entry,
            Array.from({ length: 20 }, (_, i) => ({ id: `${i} ${randomUUID()}`, amount: 0 })),
          );
          await add(outer, b);
          isLocked();
          await add(outer, a);
        });
        await locked;
        try {
          await add(manager, b);
        } finally {
          await other;
        }
      },
      async (execution) => {
        await add(execution.manager, a);
        return { call: 2 };
      },
    );
    const answer = await ask(request);
    expect([answer.status, answer.body.toString()]).toEqual([201, '{"call":2}']);
    expect(await entries.findBy([{ id: a }, { id: b }])).toEqual([
      { id: a, amount: 2 },
      { id: b, amount: 1 },
    ]);
    expect(await statusOf(request)).toBe('done');
  });

  it('is not called where a statement has committed what the call before wrote', async () => {
    if (dialect === 'postgres') return;
    await app.dataSource.query('CREATE PROCEDURE commits() BEGIN COMMIT; END');
    const request = to('tx');
    play(
      async (execution) => {
        await write(execution, 'first');
        await execution.manager.query('CALL commits()');
        fail();
      },
      (execution) => write(execution, 'second'),
    );
    const answer = await ask(request);
    expect([answer.status, stage.count]).toEqual([500, 1]);
    await until(() => stage.errors.length === 2);
    expect([await entriesOf(request), await statusOf(request)]).toEqual([['first'], 'held']);
  });

  it('begins operations within, more of them than there are connections, and leaves none behind', async () => {
    const database = await createDatabase(dialect);
    const outer = [app, service] as const;
    const options = { ...database.options, poolSize: 3 } as TestDatabase['options'];
    try {
      await open({ database: { ...database, options } as TestDatabase });
      const calls = async (execution: Execution) => {
        const n = stage.begun.get(execution)!;
        await write(execution, `call ${n}`);
        await service.run({ key: `${n} ${execution.key}`, operation: 'within' }, () => n);
        if (n < 3) fail();
        return n;
      };
      play(calls, calls, calls);
      const requests = Array.from({ length: 12 }, () => to('tx'));
      const answers = await Promise.all(requests.map((request) => ask(request)));
      expect(answers.map(({ status, body }) => `${status} ${body.toString()}`)).toEqual(requests.map(() => '201 3'));
      for (const request of requests) expect(await entriesOf(request)).toEqual(['call 3']);
      // As many transactions at once as there are connections: none is missing.
      await Promise.all([1, 2, 3].map(() => app.dataSource.transaction((manager) => manager.query('SELECT 1'))));
    } finally {
      await app.close();
      await database.drop();
      [app, service] = outer;
    }
  });
});

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('a transaction host, on %s', (dialect) => {
  const host = new AsyncLocalStorage<EntityManager>();
  afterAll(() => app?.close());

  it('has the transaction of the call that runs, in whose context that call is', async () => {
    await open({
      dialect,
      options: {
        transactionHost: {
          run: (dataSource, work) => dataSource.transaction((manager) => host.run(manager, () => work(manager))),
        },
      },
    });
    const request = to('tx');
    const calls = async (execution: Execution) => {
      const n = stage.begun.get(execution)!;
      await host.getStore()!.insert(Entry, { id: `call ${n} ${execution.key}`, amount: n });
      if (n < 3) fail();
      return host.getStore() === execution.manager;
    };
    play(calls, calls, calls);
    const answer = await ask(request);
    expect([answer.status, answer.body.toString()]).toEqual([201, 'true']);
    expect([await entriesOf(request), await statusOf(request)]).toEqual([['call 3'], 'done']);
  });
});

describe.each(['postgres', 'mariadb'] as const)('a database that goes away between two calls: %s', (dialect) => {
  let database: TestDatabase;
  let proxy: TcpProxy;

  beforeAll(async () => {
    database = await createDatabase(dialect);
    proxy = await TcpProxy.listen((database.options as { port: number }).port);
    await open({
      database: { ...database, options: { ...database.options, port: proxy.port } as TestDatabase['options'] },
      options: { storeTimeout: '1s' },
    });
  });
  afterAll(async () => {
    await app?.close();
    await proxy?.close();
    await database?.drop();
  });

  it.each(['ROLLBACK', 'COMMIT'])('loses the answer to %s: the second call counts, and it alone', async (statement) => {
    const request = to('brief');
    play(
      async (execution) => {
        await write(execution, 'first');
        if (statement === 'ROLLBACK') proxy.cutAfterRequest(1, statement);
        fail();
      },
      async (execution) => {
        await write(execution, 'second');
        if (statement === 'COMMIT') proxy.cutAfterRequest(1, statement);
        return { call: 2 };
      },
    );
    const answer = await ask(request);
    expect([answer.status, answer.body.toString()]).toEqual([201, '{"call":2}']);
    // Connections that were broken may be in the pool still.
    await until(() =>
      entriesOf(request).then(
        () => true,
        () => false,
      ),
    );
    expect([await entriesOf(request), await statusOf(request)]).toEqual([['second'], 'done']);
    expect(isReplay(await ask(request))).toBe(true);
  });

  it('fails the next call, and the client gets an error and its retry runs', async () => {
    const request = to('brief');
    play(
      async (execution) => {
        await write(execution, 'first');
        await proxy.refuse(true);
        proxy.cut();
        fail();
      },
      (execution) => write(execution, 'second'),
    );
    expect((await ask(request)).status).toBe(503);
    expect([stage.count, stage.errors.length]).toEqual([1, 2]);
    await proxy.refuse(false);
    play((execution) => write(execution, 'third'));
    expect((await retry(request)).status).toBe(201);
    expect(await entriesOf(request)).toEqual(['third']);
  });
});

it('leaves no rejection unhandled', () => expect(unhandled).toEqual([]));
