import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { DataSource, type QueryRunner } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';

@Controller('orders')
class OrdersController {
  constructor(private readonly dataSource: DataSource) {}

  @Idempotent()
  @Post('plain')
  async plain() {
    await this.dataSource.query('INSERT INTO shared_order VALUES (1)');
  }

  @Idempotent({ transactional: true })
  @Post('transactional')
  async transactional(@IdempotentExecution() { manager }: Execution) {
    await manager.query('INSERT INTO shared_order VALUES (1)');
  }
}

/** As typeorm-transactional-tests has it: all code of a test has one query runner, in a transaction that is rolled back. */
async function beginTest(dataSource: DataSource): Promise<QueryRunner> {
  const runner = dataSource.createQueryRunner();
  await runner.startTransaction();
  Object.assign(dataSource, { createQueryRunner: () => runner });
  Object.assign(runner, { release: async () => undefined });
  return runner;
}

describe.each(['postgres', 'mariadb'] as const)('tests in a transaction that they roll back, on %s', (dialect) => {
  it.each(PLATFORMS)('plain operations work, and transactional ones say why they cannot, on %s', async (platform) => {
    const app: RunningApp = await startApp(platform, { dialect, controllers: [OrdersController] });
    try {
      const { dataSource, port } = app;
      await dataSource.query('CREATE TABLE shared_order (id int)');
      const runner = await beginTest(dataSource);
      const release = Object.getPrototypeOf(runner).release as () => Promise<void>;
      try {
        const plain = { path: '/orders/plain', key: randomUUID() };
        expect((await send(port, plain)).status).toBe(201);
        expect(isReplay(await send(port, plain))).toBe(true);
        const transactional = { path: '/orders/transactional', key: randomUUID() };
        for (let n = 0; n < 2; n++) expect((await send(port, transactional)).status).toBe(500);
        expect(app.log.toString()).toMatch(/has a transaction open already/);
        expect(await runner.query('SELECT * FROM shared_order')).toHaveLength(1);
        await runner.rollbackTransaction();
        expect(await runner.query('SELECT * FROM shared_order')).toEqual([]);
      } finally {
        await release.call(runner);
        Reflect.deleteProperty(dataSource, 'createQueryRunner');
      }
    } finally {
      await app.close();
    }
  });
});
