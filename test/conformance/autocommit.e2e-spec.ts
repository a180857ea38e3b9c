import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Idempotent } from '../../lib/index.js';
import { createDatabase } from '../support/database.js';
import { isReplay } from './support/cases.js';
import { startApp } from './support/app.js';
import { send } from './support/raw-http.js';

@Controller('bookings')
class BookingsController {
  constructor(private readonly dataSource: DataSource) {}

  @Idempotent()
  @Post()
  async book() {
    await this.dataSource.transaction(async (manager) => {
      await manager.query('INSERT INTO bookings VALUES (1)');
      await manager.query('SET autocommit = 0');
    });
    return { booked: true };
  }

  @Post('left')
  async leave() {
    await this.dataSource.query('SET autocommit = 0');
  }
}

// The store's own statements stayed uncommitted on such a connection: the outcome was sent, and lost with the connection.
test('a connection that a handler leaves without autocommit does not keep an outcome from being committed', async () => {
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
      const request = { path: '/bookings', key: randomUUID() };
      // The claim comes on such a connection too.
      await send(app.port, { path: '/bookings/left' });
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
});
