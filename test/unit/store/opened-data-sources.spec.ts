import { DataSource } from 'typeorm';
import { onOpened } from '../../../lib/store/transactions/opened-data-sources.js';

const open: DataSource[] = [];
afterEach(async () => {
  for (const dataSource of open.splice(0)) await dataSource.destroy();
});

async function initialized(): Promise<DataSource> {
  const dataSource = new DataSource({ type: 'better-sqlite3', database: ':memory:' });
  expect(await dataSource.initialize()).toBe(dataSource);
  open.push(dataSource);
  return dataSource;
}

describe('onOpened', () => {
  it('calls each listener with each data source, once, until it is ended', async () => {
    const heard: Record<'one' | 'other', DataSource[]> = { one: [], other: [] };
    const end = onOpened((dataSource) => heard.one.push(dataSource));
    const endOther = onOpened((dataSource) => heard.other.push(dataSource));
    const first = await initialized();
    end();
    const second = await initialized();
    endOther();
    await initialized();
    expect([heard.one.length, heard.other.length]).toEqual([1, 2]);
    expect(heard.one[0]).toBe(first);
    expect(heard.other[1]).toBe(second);
  });

  it('wraps `initialize` once, however many listen', async () => {
    const end = onOpened(() => undefined);
    const initialize = Reflect.get(DataSource.prototype, 'initialize');
    const endAgain = onOpened(() => undefined);
    expect(Reflect.get(DataSource.prototype, 'initialize') === initialize).toBe(true);
    end();
    endAgain();
  });

  it('calls no listener with one that could not be opened', async () => {
    let heard = 0;
    const end = onOpened(() => heard++);
    const prepareDatabase = () => {
      throw new Error('no such key');
    };
    const dataSource = new DataSource({ type: 'better-sqlite3', database: ':memory:', prepareDatabase });
    await expect(dataSource.initialize()).rejects.toThrow('no such key');
    end();
    expect(heard).toBe(0);
  });
});
