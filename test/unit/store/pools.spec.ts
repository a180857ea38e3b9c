import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { type Pool, StorePools } from '../../../lib/store/connectors/pools.js';

/** A pool of a server that accepts so many connections. */
class FakePool implements Pool<string> {
  size = 0;
  limit = 4;
  isExhausted = false;
  ended = false;

  constructor(
    readonly name: string,
    private readonly accepted: () => number,
  ) {}

  take(): Promise<string> {
    if (this.size >= this.limit) return Promise.resolve(this.name);
    if (this.size >= this.accepted()) return Promise.reject(Object.assign(new Error('too many'), { code: '53300' }));
    this.size++;
    return Promise.resolve(this.name);
  }

  limitTo(connections: number): void {
    this.limit = connections;
  }

  closeIdle(): void {
    this.size = 0;
  }

  async end(): Promise<void> {
    this.ended = true;
  }
}

describe('StorePools', () => {
  let accepted: number;
  let shared: FakePool;
  let own: FakePool;
  let pools: StorePools<string>;
  let warn: jest.SpiedFunction<Logger['warn']>;

  beforeEach(() => {
    jest.useFakeTimers();
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    accepted = 4;
    shared = new FakePool('shared', () => 4);
    own = new FakePool('own', () => accepted);
    pools = new StorePools(shared, () => own, 4);
  });
  afterEach(() => {
    jest.useRealTimers();
    warn.mockRestore();
  });

  const take = () =>
    pools
      .choose()
      .take()
      .catch((error: unknown) => pools.takeAfter(error));

  it('has a pool of its own until it is closed', async () => {
    expect(await take()).toBe('own');
    await pools.close();
    expect(own.ended).toBe(true);
    expect(await take()).toBe('shared');
  });

  it('shares where it may have none, or the driver offers no way to', async () => {
    expect(new StorePools(shared, () => own, 0).choose()).toBe(shared);
    expect(new StorePools(shared, () => undefined, 4).choose()).toBe(shared);
  });

  it('shares while the server accepts none, and tries again after a while', async () => {
    accepted = 0;
    expect([await take(), await take()]).toEqual(['shared', 'shared']);
    accepted = 4;
    expect(await take()).toBe('shared');
    jest.advanceTimersByTime(10_000);
    expect(await take()).toBe('own');
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it('does with those that it has while the server accepts no more', async () => {
    accepted = 2;
    expect([await take(), await take(), await take()]).toEqual(['own', 'own', 'own']);
    expect(own.limit).toBe(2);
    jest.advanceTimersByTime(10_000);
    expect(own.limit).toBe(4);
  });

  it('passes other errors on', async () => {
    const refused = Object.assign(new Error('password'), { code: '28P01' });
    await take();
    await expect(pools.takeAfter(refused)).rejects.toBe(refused);
  });

  it('spills into the other pool where it may, and there is room', () => {
    let spills = false;
    pools = new StorePools(
      shared,
      () => own,
      4,
      () => spills,
    );
    own.isExhausted = true;
    expect(pools.choose()).toBe(own);
    spills = true;
    expect(pools.choose()).toBe(shared);
    shared.isExhausted = true;
    expect(pools.choose()).toBe(own);
  });
});
