import { DataSource } from 'typeorm';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { isPast } from '../../../lib/store/dialects/clock.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';

const MESSAGE =
  'IdempotencyModule: TypeORM\'s driver "sqljs" is not supported. Supported are postgres, mysql, mariadb, better-sqlite3: ' +
  'use one of them, or name another data source in the option `dataSource`.';

it('chooses the statements by the driver', async () => {
  const dataSource = new DataSource({
    type: 'better-sqlite3',
    database: ':memory:',
    entities: [...IDEMPOTENCY_ENTITIES],
  });
  try {
    expect(connectorFor(await dataSource.initialize()).dialect.name).toBe('sqlite');
  } finally {
    await dataSource.destroy();
  }
});

describe('a driver that is not supported', () => {
  const dataSource = new DataSource({ type: 'sqljs', driver: {} });

  it('has no connector', () => {
    expect(() => connectorFor(dataSource)).toThrow(MESSAGE);
  });

  it('has no clock', () => {
    expect(() => isPast(dataSource, 'r.leaseUntil')).toThrow(MESSAGE);
  });

  it.each(IDEMPOTENCY_MIGRATIONS)('has no migrations: %p', async (Migration) => {
    await expect(new Migration().up({ connection: dataSource } as never)).rejects.toThrow(MESSAGE);
  });
});
