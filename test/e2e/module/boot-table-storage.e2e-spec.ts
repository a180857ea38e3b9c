import mysql from 'mysql2';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/index.js';
import { startApp } from '../../conformance/support/app.js';
import { createDatabase, IS_MYSQL, type TestDatabase } from '../../support/database.js';

const BY_TIME = 'DROP PRIMARY KEY, ADD PRIMARY KEY (id, created_at) PARTITION BY HASH (created_at)';

/** TypeORM would give a table its key back. */
const asItIs = (database: TestDatabase): TestDatabase => ({
  ...database,
  options: { ...database.options, synchronize: false },
});

// Such a table passes every other check. It loses records at a crash, keeps the outcome of writes that were rolled back, gives one key
// to two executions, or takes one step for another.
test.each([
  ['postgres', 'idempotency_record', 'SET UNLOGGED', /^ERROR The table idempotency_record is unlogged: .* SET LOGGED/],
  [
    'mariadb',
    'idempotency_step',
    'ENGINE = MyISAM',
    /^ERROR The table idempotency_step is of the engine MyISAM, .* ENGINE = InnoDB/,
  ],
  [
    'mariadb',
    'idempotency_record',
    BY_TIME,
    /^ERROR The table idempotency_record has another primary key .* each retry runs again/,
  ],
  ['mariadb', 'idempotency_step', 'DROP PRIMARY KEY', /^ERROR The table idempotency_step has another primary key/],
  [
    'mariadb',
    'idempotency_step',
    'CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci',
    /^ERROR The column name of the table idempotency_step has the collation utf8mb4_general_ci, .* COLLATE utf8mb4_bin/,
  ],
] as const)(
  'The boot of an application on %s names the table %s that %s has made unsafe',
  async (dialect, table, how, line) => {
    const database: TestDatabase = await createDatabase(dialect);
    try {
      const admin = new DataSource({ ...database.options, entities: [...IDEMPOTENCY_ENTITIES], synchronize: true });
      await admin.initialize();
      await admin.query(`ALTER TABLE ${table} ${how}`);
      await admin.destroy();
      const app = await startApp('express', { database: asItIs(database) });
      await app.close();
      expect(app.log.lines).toEqual([expect.stringMatching(line)]);
    } finally {
      await database.drop();
    }
  },
);

// An operation was recorded as done, and what its handler had written was never committed.
test('The boot of an application on MariaDB names sessions without autocommit', async () => {
  const database = await createDatabase('mariadb');
  const createPool = (options: mysql.PoolOptions) => {
    const pool = mysql.createPool(options);
    pool.on('connection', (connection) => connection.query('SET autocommit = 0'));
    return pool;
  };
  const driver = { ...mysql, createPool };
  try {
    const app = await startApp('express', { database: { ...database, options: { ...database.options, driver } } });
    await app.close();
    expect(app.log.lines).toEqual([
      expect.stringMatching(/^ERROR The sessions of the data source have autocommit off: .* Set autocommit = 1/),
    ]);
  } finally {
    await database.drop();
  }
});

if (!IS_MYSQL) {
  test('The boot of an application on MariaDB says nothing of a table that keeps its history', async () => {
    const database = await createDatabase('mariadb');
    try {
      const admin = new DataSource({ ...database.options, entities: [...IDEMPOTENCY_ENTITIES], synchronize: true });
      await admin.initialize();
      for (const table of ['record', 'step'])
        await admin.query(`ALTER TABLE idempotency_${table} ADD SYSTEM VERSIONING`);
      await admin.destroy();
      const app = await startApp('express', { database: asItIs(database) });
      await app.close();
      expect(app.log.lines).toEqual([]);
    } finally {
      await database.drop();
    }
  });
}
