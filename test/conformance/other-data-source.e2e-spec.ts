import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { InjectDataSource, TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { PLATFORMS, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

const INSERT = 'INSERT INTO entries VALUES (1)';

@Controller('entries')
class EntriesController {
  constructor(@InjectDataSource('ledger') private readonly ledger: DataSource) {}

  @Idempotent({ transactional: true })
  @Post('written')
  async written() {
    await this.ledger.query(INSERT);
    await this.ledger.query(INSERT);
  }

  @Idempotent({ transactional: true })
  @Post('step')
  async step(@IdempotentExecution() execution: Execution) {
    await execution.step('entry', () => this.ledger.query(INSERT));
  }

  @Idempotent({ transactional: true })
  @Post('read')
  async read() {
    await this.ledger.query('SELECT * FROM entries');
  }

  /** The data source is opened at the first request of a tenant, as applications do that have a database for each. */
  @Idempotent({ transactional: true })
  @Post('tenant')
  async tenant() {
    const tenant = await new DataSource({ type: 'better-sqlite3', database: ':memory:' }).initialize();
    try {
      await tenant.query('CREATE TABLE entries (id int)');
      await tenant.query(INSERT);
    } finally {
      await tenant.destroy();
    }
  }

  @Idempotent()
  @Post('plain')
  async plain() {
    await this.ledger.query(INSERT);
  }
}

test.each(PLATFORMS)(
  'a transactional handler that writes to another data source is warned of, on %s',
  async (platform) => {
    const app = await startApp(platform, {
      controllers: [EntriesController],
      imports: [TypeOrmModule.forRoot({ name: 'ledger', type: 'better-sqlite3', database: ':memory:' })],
    });
    try {
      await app.app.get(EntriesController)['ledger'].query('CREATE TABLE entries (id int)');
      for (const name of ['step', 'read', 'plain', 'written', 'written', 'tenant']) {
        expect(await send(app.port, { path: `/entries/${name}`, key: randomUUID() })).toMatchObject({ status: 201 });
      }
      expect(app.log.lines).toEqual([
        expect.stringMatching(/^WARN POST \/entries\/written: the handler .* writes through another connection/),
        expect.stringMatching(/^WARN POST \/entries\/tenant: the handler .* writes through another connection/),
      ]);
    } finally {
      await app.close();
    }
  },
);
