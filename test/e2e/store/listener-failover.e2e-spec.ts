import { DataSource } from 'typeorm';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import { PostgresWakeUp } from '../../../lib/store/postgres-wake-up.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

describe('a primary that was demoted and stays up', () => {
  let database: TestDatabase<'postgres'>;
  let dataSource: DataSource;
  let connector: Connector<PgConnection>;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    dataSource = await new DataSource({
      ...database.options,
      entities: [...IDEMPOTENCY_ENTITIES],
      synchronize: true,
    }).initialize();
    connector = connectorFor(dataSource, 4) as Connector<PgConnection>;
  });
  afterAll(async () => {
    await connector?.close?.();
    await dataSource?.destroy();
    await database?.drop();
  });

  test('is not listened to: announcements go to its successor', async () => {
    const wakeUp = new PostgresWakeUp(dataSource, connector);
    try {
      (await wakeUp.subscribe('before', () => undefined)).close();
      await wakeUp.close();
      await dataSource.query(`ALTER DATABASE ${database.options.database} SET default_transaction_read_only = on`);
      const after = new PostgresWakeUp(dataSource, connector);
      await expect(after.subscribe('after', () => undefined)).rejects.toThrow('takes no writes');
      await after.close();
    } finally {
      await wakeUp.close();
    }
  });
});
