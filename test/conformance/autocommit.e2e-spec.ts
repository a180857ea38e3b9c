import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { createDatabase } from '../support/database.js';
import { isReplay } from './support/cases.js';
import { startApp } from './support/app.js';
import { send } from './support/raw-http.js';

@Controller('bookings')
class BookingsController {
  constructor(private readonly dataSource: DataSource) {}

  @Idempotent()
  @Post()
  async book(@Body() { setting }: { setting: string }) {
    await this.dataSource.transaction(async (manager) => {
      await manager.query('INSERT INTO bookings VALUES (1)');
      await manager.query(`SET ${setting}`);
    });
    return { booked: true };
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  async bookWithin(@Body() { setting }: { setting: string }, @IdempotentExecution() { manager }: Execution) {
    await manager.query('INSERT INTO bookings VALUES (1)');
    await manager.query(`SET ${setting}`);
    return { booked: true };
  }

  @Post('left')
  async leave(@Body() { setting }: { setting: string }) {
    await this.dataSource.query(`SET ${setting}`);
  }
}

// The store's own statements stayed uncommitted on such a connection: the outcome was sent, and lost with the connection.
// Behind a COMMIT, CHAIN begins the next transaction, and RELEASE closes the connection.
test.each([
  ['without autocommit', '', 'autocommit = 0'],
  ['with CHAIN', '', "completion_type = 'CHAIN'"],
  ['with RELEASE', '', "completion_type = 'RELEASE'"],
  ['with CHAIN, by a transactional one', '/transactional', "completion_type = 'CHAIN'"],
  ['with RELEASE, by a transactional one', '/transactional', "completion_type = 'RELEASE'"],
])(
  'a connection that a handler leaves %s does not keep an outcome from being committed',
  async (_how, path, setting) => {
    const database = await createDatabase('mariadb');
    const admin = await new DataSource(database.options).initialize();
    await admin.query('CREATE TABLE bookings (id int)');
    const app = await startApp('express', {
      // One connection, which the store shares.
      database: { ...database, options: { ...database.options, poolSize: 1 } },
      options: { storeConnections: 0 },
      controllers: [BookingsController],
    });
    try {
      for (let i = 1; i <= 3; i++) {
        const request = { path: `/bookings${path}`, key: randomUUID(), body: { setting } };
        // The claim comes on such a connection too.
        await send(app.port, { path: '/bookings/left', body: { setting } });
        expect(await send(app.port, request)).toMatchObject({ status: 201 });
        expect(await admin.query('SELECT status FROM idempotency_record')).toEqual(Array(i).fill({ status: 'done' }));
        expect(isReplay(await send(app.port, request))).toBe(true);
        expect(await admin.query('SELECT id FROM bookings')).toHaveLength(i);
      }
      expect(app.log.lines).toEqual([]);
    } finally {
      await app.close();
      await admin.destroy();
      await database.drop();
    }
  },
);
