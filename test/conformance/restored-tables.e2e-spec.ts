import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { until } from '../support/until.js';
import { startApp } from './support/app.js';
import { isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';

let ran = 0;
let isMissing = false;

async function takeAway(dataSource: DataSource): Promise<void> {
  await dataSource.query('ALTER TABLE idempotency_record RENAME TO restoring');
  isMissing = true;
}

@Controller('orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Idempotent()
  @Post('plain')
  async plain() {
    ran++;
    await takeAway(this.dataSource);
    return { placed: true };
  }

  @Idempotent()
  @Post('step')
  async step(@IdempotentExecution() execution: Execution) {
    await execution.step('charge', async () => {
      ran++;
      await takeAway(this.dataSource);
    });
    return { placed: true };
  }
}

/** As while a dump is restored, or a right is granted again: the store refuses every statement, and not this outcome. */
describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  'a table that is missing for a moment, on %s',
  (dialect) => {
    it.each(['plain', 'step'])('costs no outcome of a handler that has run: %s', async (path) => {
      const app = await startApp('fastify', { dialect, controllers: [OrdersController] });
      try {
        ran = 0;
        isMissing = false;
        const asked = { path: `/orders/${path}`, key: randomUUID() };
        const first = send(app.port, asked);
        await until(() => isMissing);
        // The log says that a statement was refused: the outcome was sent before it.
        expect(await send(app.port, { ...asked, key: randomUUID() })).toMatchObject({ status: 503 });
        await app.dataSource.query('ALTER TABLE restoring RENAME TO idempotency_record');
        expect(await first).toMatchObject({ status: 201 });
        expect(isReplay(await send(app.port, asked))).toBe(true);
        expect(ran).toBe(1);
        expect(app.log.toString()).not.toMatch(/could not be kept|could not be recorded/);
      } finally {
        await app.close();
      }
    });
  },
);
