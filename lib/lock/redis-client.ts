/**
 * What the library needs of a Redis client, such as a `Redis` or `Cluster` of ioredis 5 or 6. It is structural, so that
 * ioredis stays an optional peer: no declaration file imports it.
 */
export interface RedisLike {
  /** ioredis's connection state: `'wait'`, `'connecting'`, `'ready'`, `'reconnecting'`, `'end'`, … */
  readonly status: string;
  /** True for an ioredis `Cluster`, whose `duplicate` has other parameters. */
  readonly isCluster?: boolean;
  evalsha(sha1: string, numkeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>;
  eval(script: string, numkeys: number, ...keysAndArguments: (string | number)[]): Promise<unknown>;
  ping(): Promise<unknown>;
  publish(channel: string, message: string): Promise<unknown>;
  /** Returns a new connection to the same server. The library uses it to subscribe. */
  duplicate(options?: object): RedisSubscriberLike;
}

/** What the library needs of the connection that it subscribes on. */
export interface RedisSubscriberLike {
  readonly status: string;
  on(event: 'message', listener: (channel: string, message: string) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready', listener: () => void): unknown;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  disconnect(): void;
}

const METHODS = ['evalsha', 'eval', 'ping', 'publish', 'duplicate'] as const;

function isRedisLike(value: unknown): value is RedisLike {
  if (typeof value !== 'object' || value === null) return false;
  const candidate = value as Record<string, unknown>;
  return typeof candidate.status === 'string' && METHODS.every((method) => typeof candidate[method] === 'function');
}

/**
 * Returns why clients cannot be the option `redis`, in words that follow its name; `undefined` if they can.
 *
 * An even number is refused: it tolerates no more failures than one node fewer, and votes can be split evenly again and
 * again. The same client twice is refused, because its vote would count twice.
 */
export function faultOfRedis(redis: unknown): string | undefined {
  const nodes: readonly unknown[] = Array.isArray(redis) ? redis : [redis];
  if (nodes.length === 0) return 'is an empty array; leave it out to run without Redis';
  const stranger = nodes.findIndex((node) => !isRedisLike(node));
  if (stranger !== -1) {
    return Array.isArray(redis)
      ? `has something at index ${stranger} that is not an ioredis client: \`new Redis(url)\` makes one`
      : 'is not an ioredis client, nor an array of them: `new Redis(url)` makes one';
  }
  if (new Set(nodes).size !== nodes.length) return 'lists the same client twice';
  if (nodes.length % 2 === 1) return undefined;
  return `lists ${nodes.length} nodes; Redlock needs an odd number of independent ones, such as 1, 3 or 5`;
}
