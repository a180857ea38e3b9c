import { randomUUID } from 'node:crypto';
import { BadGatewayException, Body, Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotencyService,
  IdempotentExecution,
  StepUnknownError,
} from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf } from './support/cases.js';
import { send } from './support/raw-http.js';

@Controller()
class PaymentsController {
  runs = 0;

  @Post('payments')
  @Idempotent({ afterCrash: 'hold' })
  pay(@Body() body: { amount: number }) {
    return { ...body, run: ++this.runs };
  }

  @Post('waiting')
  @Idempotent({ afterCrash: 'hold', onConflict: 'wait' })
  wait(@Body() body: { amount: number }) {
    return this.pay(body);
  }
}

/**
 * Scope and fingerprint are compared in every state. A held record reveals the most: that a caller's operation was begun, and that
 * its outcome is unknown.
 */
describe.each(PLATFORMS)('a record that is held, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [PaymentsController] });
  });
  afterAll(() => app?.close());

  test.each(['payments', 'waiting'])('is reported to its own caller, and to no other: POST /%s', async (path) => {
    const key = randomUUID();
    const ask = async (caller: string | undefined, amount: number) => {
      const headers: Record<string, string> = caller === undefined ? {} : { Authorization: `Bearer ${caller}` };
      const answer = await send(app.port, { path: `/${path}`, key, headers, body: { amount } });
      return [answer.status, codeOf(answer)];
    };
    expect(await ask('ann', 100)).toEqual([201, undefined]);
    // As the claim leaves it that finds the lease of a dead process run out.
    await app.dataSource.query("UPDATE idempotency_record SET status = 'held' WHERE status = 'done'");

    expect(await ask('ann', 100)).toEqual([409, 'outcome-unknown']);
    expect(await ask('ann', 999)).toEqual([422, 'key-reused']);
    expect(await ask('bob', 100)).toEqual([422, 'key-foreign']);
    expect(await ask(undefined, 100)).toEqual([422, 'key-foreign']);
    // A caller who may not see the record does not learn that the request differs.
    expect(await ask('bob', 999)).toEqual([422, 'key-foreign']);
  });
});

/** A bank that neither takes keys nor can be asked, and whose answer does not come. */
const bank = {
  paid: 0,
  answers: false,
  pay() {
    this.paid++;
    return this.answers ? Promise.resolve({ transfer: this.paid }) : Promise.reject(new Error('The bank timed out'));
  },
};

function pay(execution: Execution) {
  return execution.step('pay', () =>
    bank.pay().catch((cause: unknown) => {
      throw new StepUnknownError('pay', { cause });
    }),
  );
}

@Controller('payouts')
class PayoutsController {
  constructor(
    private readonly idempotency: IdempotencyService,
    private readonly dataSource: DataSource,
  ) {}

  @Post('plain')
  @Idempotent({ afterCrash: 'hold' })
  plain(@IdempotentExecution() execution: Execution) {
    return pay(execution);
  }

  @Post('without-hold')
  @Idempotent()
  withoutHold(@IdempotentExecution() execution: Execution) {
    return pay(execution);
  }

  @Post('transactional')
  @Idempotent({ afterCrash: 'hold', transactional: true })
  transactional(@IdempotentExecution() execution: Execution) {
    return pay(execution);
  }

  /** Catches the error, and its transaction ends with its connection. */
  @Post('disconnected')
  @Idempotent({ afterCrash: 'hold', transactional: true })
  async disconnected(@IdempotentExecution() execution: Execution) {
    const paid = await pay(execution).catch(() => undefined);
    if (paid) return paid;
    const { type } = this.dataSource.options;
    const [session] = (await execution.manager.query(
      type === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT connection_id() AS id',
    )) as { id: number }[];
    await this.dataSource.query(
      type === 'postgres' ? `SELECT pg_terminate_backend(${session!.id})` : `KILL ${session!.id}`,
    );
    return { paid };
  }

  /** Its own retries, and an error of its own. */
  @Post('stubborn')
  @Idempotent({ afterCrash: 'hold' })
  async stubborn(@IdempotentExecution() execution: Execution) {
    for (let attempt = 1; attempt <= 3; attempt++) {
      const paid = await pay(execution).catch(() => undefined);
      if (paid) return paid;
    }
    throw new BadGatewayException();
  }

  @Post('job')
  @Idempotent()
  job(@IdempotentExecution() execution: Execution) {
    return this.idempotency.run(
      { key: execution.deriveKey('job'), operation: 'payout', afterCrash: 'hold', scope: 'jobs' },
      pay,
    );
  }
}

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  'a step that says that its outcome is unknown, on %s',
  (dialect) => {
    let app: RunningApp;

    beforeAll(async () => {
      app = await startApp('express', { dialect, controllers: [PayoutsController] });
    });
    afterAll(() => app?.close());
    beforeEach(() => Object.assign(bank, { paid: 0, answers: false }));

    const routes = ['plain', 'without-hold', 'transactional', 'stubborn', 'job'];
    test.each(dialect === 'better-sqlite3' ? routes : [...routes, 'disconnected'])(
      'holds the record, and does not run again before a person has decided: POST /payouts/%s',
      async (path) => {
        const request = { path: `/payouts/${path}`, key: randomUUID(), body: {} };
        const ask = async () => {
          const answer = await send(app.port, request);
          return [answer.status, codeOf(answer)];
        };
        expect(await ask()).toEqual([409, 'outcome-unknown']);
        expect(await ask()).toEqual([409, 'outcome-unknown']);
        expect(bank.paid).toBe(1);

        const idempotency = app.app.get(IdempotencyService);
        const [held, ...others] = await idempotency.list({ status: 'held' });
        expect(others).toEqual([]);
        expect(app.log.lines).toContainEqual(expect.stringContaining(`record ${held!.id} is held`));
        if (path !== 'transactional' || dialect !== 'better-sqlite3') {
          expect(await idempotency.steps(held!.id)).toMatchObject([{ name: 'pay', status: 'begun' }]);
        }
        bank.answers = true;
        expect(await idempotency.resolve(held!.id, 'release')).toBeTruthy();
        expect(await ask()).toEqual([201, undefined]);
        expect(bank.paid).toBe(2);
      },
    );
  },
);
