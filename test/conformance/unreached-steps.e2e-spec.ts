import { randomUUID } from 'node:crypto';
import {
  BadGatewayException,
  Body,
  Controller,
  type HttpException,
  type PipeTransform,
  Post,
  UnprocessableEntityException,
} from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { type RunningApp, startApp } from './support/app.js';
import { until } from '../support/until.js';
import { send } from './support/raw-http.js';

let handler: (execution: Execution) => unknown = () => undefined;

/** Validates as the release that is deployed now does. */
let refusal: HttpException | undefined;
class Validation implements PipeTransform {
  transform(value: unknown) {
    if (refusal) throw refusal;
    return value;
  }
}

@Controller('refunds')
class RefundsController {
  @Idempotent()
  @Post('plain')
  plain(@IdempotentExecution() execution: Execution, @Body(Validation) _body?: object) {
    return handler(execution);
  }

  @Idempotent({ transactional: true })
  @Post('transactional')
  transactional(@IdempotentExecution() execution: Execution, @Body(Validation) _body?: object) {
    return handler(execution);
  }
}

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  'a retry that takes another way, on %s',
  (dialect) => {
    let app: RunningApp;

    beforeAll(async () => (app = await startApp('express', { dialect, controllers: [RefundsController] })));
    afterAll(() => app?.close());
    afterEach(() => (refusal = undefined));

    const reported = () => app.log.lines.filter((line) => line.includes('of an earlier attempt'));

    it.each(['plain', 'transactional'])(
      'and fails before its step: the log names what may have happened (%s)',
      async (route) => {
        const request = { path: `/refunds/${route}`, key: randomUUID(), body: {} };
        let left = 10;
        handler = async (execution) => {
          if (left < 10) throw new UnprocessableEntityException('More than was paid');
          // The provider refunds, and its answer is lost.
          await execution.step('refund', () => Promise.reject(new BadGatewayException()), { verify: () => undefined });
        };
        expect((await send(app.port, request)).status).toBe(502);
        left = 0; // by another refund
        const before = reported().length;
        expect((await send(app.port, request)).status).toBe(422);
        expect(reported().slice(before)).toEqual([
          expect.stringContaining('which did not call "refund" of an earlier attempt'),
        ]);
      },
    );

    it.each(['plain', 'transactional'])('and succeeds without a step: the log names it (%s)', async (route) => {
      const request = { path: `/refunds/${route}`, key: randomUUID(), body: {} };
      let balance = 0;
      handler = async (execution) => {
        const charge = await execution.step('charge', () => ({ id: 7 }));
        if (balance > 0) return charge;
        await execution.step('undo', () => 'undone');
        throw new BadGatewayException();
      };
      expect((await send(app.port, request)).status).toBe(502);
      balance = 10;
      const before = reported().length;
      expect((await send(app.port, request)).status).toBe(201);
      expect(reported().slice(before)).toEqual([
        expect.stringContaining('which did not call "undo" of an earlier attempt'),
      ]);
    });

    it.each(['plain', 'transactional'])(
      'and is refused by a pipe: the log names what has happened (%s)',
      async (route) => {
        const request = { path: `/refunds/${route}`, key: randomUUID(), body: {} };
        handler = async (execution) => {
          await execution.step('charge', () => ({ id: 7 }));
          throw new BadGatewayException();
        };
        expect((await send(app.port, request)).status).toBe(502);
        refusal = new UnprocessableEntityException('A stricter release');
        const before = reported().length;
        expect((await send(app.port, request)).status).toBe(422);
        await until(() => reported().length > before);
        expect(reported().slice(before)).toEqual([
          expect.stringContaining('was answered by attempt 2, which did not call "charge" of an earlier attempt'),
        ]);
        // The operation can still be finished, as after a roll-back of that release.
        refusal = undefined;
        handler = (execution) => execution.step('charge', () => ({ id: 8 }));
        expect(await send(app.port, request)).toMatchObject({ status: 201, body: Buffer.from('{"id":7}') });
      },
    );

    it('and is refused for now: nothing is reported', async () => {
      const request = { path: '/refunds/plain', key: randomUUID(), body: {} };
      handler = async (execution) => {
        await execution.step('charge', () => ({ id: 7 }));
        throw new BadGatewayException();
      };
      expect((await send(app.port, request)).status).toBe(502);
      refusal = new BadGatewayException('The pipe asks a service that is down');
      const before = reported().length;
      expect((await send(app.port, request)).status).toBe(502);
      refusal = undefined;
      expect((await send(app.port, request)).status).toBe(502); // once its predecessor is recorded
      expect(reported().slice(before)).toEqual([]);
    });

    it('and calls every step again: nothing is reported', async () => {
      const request = { path: '/refunds/plain', key: randomUUID(), body: {} };
      let attempts = 0;
      handler = async (execution) => {
        await execution.step('refund', () => 'refunded');
        await execution.step('mail', () => {
          if (++attempts === 1) throw new BadGatewayException();
        });
      };
      const before = reported().length;
      expect((await send(app.port, request)).status).toBe(502);
      expect((await send(app.port, request)).status).toBe(201);
      expect(reported().slice(before)).toEqual([]);
    });
  },
);
