import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { clockOf } from '../../../lib/store/dialects/clock.js';
import { usePortableStatements } from '../../../lib/store/dialects/dialect-name.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';

describe('connectorFor', () => {
  let warn: jest.SpiedFunction<Logger['warn']>;
  let dataSource: DataSource;

  beforeEach(() => {
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    dataSource = new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [...IDEMPOTENCY_ENTITIES] });
  });
  afterEach(async () => {
    warn.mockRestore();
    await dataSource.destroy();
  });

  it('uses a database’s own statements without a word', async () => {
    expect(connectorFor(await dataSource.initialize()).dialect.name).toBe('sqlite');
    expect(warn).not.toHaveBeenCalled();
  });

  it('tells of the portable statements', async () => {
    usePortableStatements(dataSource);
    expect(connectorFor(await dataSource.initialize()).dialect.name).toBe('portable');
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('"better-sqlite3"'));
  });
});

describe('clockOf', () => {
  it('names the driver whose clock nobody knows', () => {
    const dataSource = new DataSource({ type: 'better-sqlite3', database: ':memory:' });
    const oracle = Object.create(dataSource, { options: { value: { type: 'oracle' } } }) as DataSource;
    expect(() => clockOf(oracle)).toThrow('"oracle"');
  });
});
