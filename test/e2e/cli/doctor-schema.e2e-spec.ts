import { join } from 'node:path';
import { jest } from '@jest/globals';
import { DataSource } from 'typeorm';
import { build } from '../../support/app-process.js';
import { backendOf, StoreFixture } from '../store/support.js';
import { cli } from './support.js';

// Each call is a process of its own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
  readonly remedy?: string;
}

const PRECIOUS = 'CREATE TABLE precious (id integer)';

async function sqlite(name: string) {
  const path = join(process.env.TEST_FOLDER!, name);
  const dataSource = await new DataSource({ type: 'better-sqlite3', database: path }).initialize();
  await dataSource.query(PRECIOUS);
  return { path, dataSource, tables: () => dataSource.query('SELECT name, sql FROM sqlite_master') };
}

test('the doctor loads an application that drops, migrates and synchronizes, and its databases stay as they are', async () => {
  const fixture = await StoreFixture.open(backendOf('postgres'), { synchronize: false });
  const [second, third] = [await sqlite('doctor-second.sqlite'), await sqlite('doctor-third.sqlite')];
  try {
    await fixture.dataSource.query(PRECIOUS);
    const tables = async () => [
      await fixture.dataSource.query('SELECT table_name FROM information_schema.tables WHERE table_schema = $1', [
        'public',
      ]),
      await fixture.dataSource.query('SELECT extname FROM pg_extension ORDER BY 1'),
    ];
    const all = async () => JSON.stringify([await tables(), await second.tables(), await third.tables()]);
    const untouched = await all();

    const app = await build('doctor-schema-app');
    const env = { DATABASE: JSON.stringify(fixture.options), SECOND: second.path, THIRD: third.path };
    const doctor = async (more: Record<string, string> = {}) => {
      const { stdout, stderr } = await cli(['doctor', '--json', '--app', app], { env: { ...env, ...more } });
      expect(stderr).toContain('printed past process.stdout');
      return (JSON.parse(stdout) as { findings: Finding[] }).findings;
    };
    const leftOut = (findings: readonly Finding[]) =>
      findings.filter(({ check }) => check === 'application.schema').map(({ level, message }) => `${level} ${message}`);
    const expected = [
      'note When the application starts, its data source "default" installs extensions, drops the schema, runs migrations, synchronizes the schema. The doctor left this out',
      'note When the application starts, its data source "second" drops the schema, runs migrations, synchronizes the schema. The doctor left this out',
      'note When the application starts, its data source "third" drops the schema, synchronizes the schema, runs migrations. The doctor left this out',
    ];

    const found = await doctor();
    expect(await all()).toBe(untouched);
    expect(leftOut(found).sort()).toEqual(expected);
    const missing = found.find(({ check }) => check === 'tables.columns');
    expect(missing?.message).toContain('table idempotency_record');
    // Tables of a migration run by hand would be in the way of the application's own.
    expect(missing?.remedy).toMatch(/^Start the application once: it makes the tables/);

    const broken = await doctor({ FAILS: '1' });
    expect(await all()).toBe(untouched);
    expect(broken.find(({ check }) => check === 'application')?.message).toContain(
      'broken, with *** and redis://user:***@host',
    );
    expect(leftOut(broken).length).toBeGreaterThan(0);
  } finally {
    await Promise.all([fixture.close(), second.dataSource.destroy(), third.dataSource.destroy()]);
  }
});
