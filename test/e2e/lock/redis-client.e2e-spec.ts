import type { RedisLike } from '../../../lib/lock/redis-client.js';
import { resolveModuleOptions } from '../../../lib/options/resolve-options.js';
import { LockFixture, VERSIONS } from './support.js';

describe.each(VERSIONS)('the option `redis` with clients of $version', (version) => {
  const fixture = new LockFixture();
  const nodesOf = (redis: RedisLike | RedisLike[]) => resolveModuleOptions({ redis }).redis;
  let clients: RedisLike[];

  beforeAll(async () => {
    clients = await fixture.connect(version, [1, 2, 3, 4, 5], { lazyConnect: true });
  });

  afterAll(async () => {
    await fixture.close();
  });

  it('takes one client, a list of one, and other odd numbers', () => {
    const [first] = clients as [RedisLike];
    expect(nodesOf(first)).toEqual([first]);
    for (const count of [1, 3, 5]) {
      const given = clients.slice(0, count);
      const nodes = nodesOf(given);
      expect(nodes).toEqual(given);
      expect(nodes).not.toBe(given);
    }
  });

  it('takes a Cluster', () => {
    const cluster = fixture.open(version.cluster(1));
    expect(nodesOf(cluster)).toEqual([cluster]);
  });

  it.each([2, 4])('refuses %d nodes', (count) => {
    const even = clients.slice(0, count);
    expect(() => nodesOf(even)).toThrow(
      `IdempotencyModule: option \`redis\` lists ${count} nodes; Redlock needs an odd number`,
    );
  });

  it('refuses an empty list, and the same client twice', () => {
    const [first, second] = clients as [RedisLike, RedisLike];
    expect(() => nodesOf([])).toThrow('IdempotencyModule: option `redis` is an empty array');
    expect(() => nodesOf([first, second, first])).toThrow(
      'IdempotencyModule: option `redis` lists the same client twice',
    );
  });

  it.each([null, 'redis://127.0.0.1', 6379, {}, { status: 'ready' }, new Map(), Promise.resolve()])(
    'refuses %p',
    (stranger) => {
      const strange = stranger as unknown as RedisLike;
      expect(() => nodesOf(strange)).toThrow('IdempotencyModule: option `redis` is not an ioredis client');
      expect(() => nodesOf([...clients.slice(0, 2), strange])).toThrow(
        'IdempotencyModule: option `redis` has something at index 2',
      );
    },
  );
});
