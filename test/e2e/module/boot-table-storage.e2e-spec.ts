import { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/index.js';
import { startApp } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

// Such a table passes every other check, and loses records at a crash, or keeps the outcome of writes that were rolled back.
test.each([
  ['postgres', 'idempotency_record', 'SET UNLOGGED', /^ERROR The table idempotency_record is unlogged: .* SET LOGGED/],
  [
    'mariadb',
    'idempotency_step',
    'ENGINE = MyISAM',
    /^ERROR The table idempotency_step is of the engine MyISAM, .* ENGINE = InnoDB/,
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
      const app = await startApp('express', { database });
      await app.close();
      expect(app.log.lines).toEqual([expect.stringMatching(line)]);
    } finally {
      await database.drop();
    }
  },
);
