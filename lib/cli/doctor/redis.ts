import { faultOfRedis, type RedisLike } from '../../lock/redis-client.js';
import { RedlockRecordLock } from '../../lock/redlock-record-lock.js';
import { settleWithin, TIME_IS_UP } from '../../engine/settle-within.js';
import { failure, type Finding, type Findings, hint, ok, warning } from './finding.js';
import { skewFinding } from './server.js';

/** A healthy node answers in a millisecond. The limit of a request would fail a distant one, which works. */
const PROBE_MS = 1_000;

/** What the doctor asks of an ioredis client, beyond what locks need. */
interface InspectedClient extends RedisLike {
  info?(): Promise<string>;
  time?(): Promise<(string | number)[]>;
  listenerCount?(event: string): number;
}

interface Node {
  readonly name: string;
  readonly info: ReadonlyMap<string, string>;
}

/**
 * Examines the Redis nodes of the option `redis`. Correctness never depends on them, so what is missing is a warning, unless
 * requests are refused without a quorum.
 *
 * @param isRequired whether they are (`onLockUnavailable: 'reject'`)
 */
export async function* redis(clients: readonly RedisLike[], isRequired: boolean, timeoutMs: number): Findings {
  const fault = faultOfRedis(clients);
  if (fault === undefined) {
    yield ok('redis.nodes', count(clients.length));
    yield* quorum(clients, isRequired);
  } else {
    yield failure(
      'redis.nodes',
      `The option \`redis\` ${fault}`,
      'List one node, or three or five that are independent',
    );
  }
  const nodes: Node[] = [];
  for (const [index, client] of (clients as readonly InspectedClient[]).entries()) {
    const name = `Redis node ${index + 1}`;
    if (client.listenerCount?.('error') === 0) {
      yield hint(
        'redis.listener',
        `${name} has no listener for errors: ioredis prints each lost connection to the console`,
        "redis.on('error', (error) => logger.warn(error.message))",
      );
    }
    // A Cluster answers for any of its nodes.
    if (client.isCluster === true || !client.info) continue;
    const info = await settleWithin(client.info(), timeoutMs).catch((error: Error) => error);
    if (info === TIME_IS_UP || info instanceof Error) {
      const reason = info === TIME_IS_UP ? `no answer within ${timeoutMs} ms` : info.message.split('\n')[0];
      yield warning('redis.node', `${name} cannot be examined: ${reason}`, 'See that it runs and accepts connections');
      continue;
    }
    const node = { name, info: parsed(info) };
    nodes.push(node);
    yield memory(node);
    yield* clockOf(node, client, timeoutMs);
  }
  yield* independence(nodes);
}

function count(nodes: number): string {
  if (nodes > 1) return `${nodes} Redis nodes are listed, an odd number`;
  return 'One Redis node is listed: without it, requests go on without the lock';
}

async function* quorum(clients: readonly RedisLike[], isRequired: boolean): Findings {
  const lock = new RedlockRecordLock(clients, { attemptTimeout: PROBE_MS });
  const { nodes, answering, quorum: needed, failures } = await lock.probe();
  await lock.close();
  const message = `${answering} of ${nodes} Redis nodes take a lock, and ${needed} have to`;
  const said = `${message}: ${failures.join(', ')}`;
  if (answering === nodes) yield ok('redis.quorum', message);
  else if (answering >= needed) {
    yield warning('redis.quorum', said, 'Bring the others back: if one or two more fail, no lock is taken');
  } else {
    const make = isRequired ? failure : warning;
    const effect = isRequired
      ? 'requests are refused with 503'
      : 'requests go on without the lock, at the cost of load on the database';
    yield make(
      'redis.quorum',
      `${said}; ${effect}`,
      'Bring them back, or remove nodes that are gone for good from the option `redis`',
    );
  }
}

function memory({ name, info }: Node): Finding {
  const policy = info.get('maxmemory_policy') ?? 'noeviction';
  if (policy === 'noeviction') return ok('redis.eviction', `${name} evicts nothing (maxmemory-policy noeviction)`);
  const isLimited = Number(info.get('maxmemory') ?? 0) > 0;
  const message = `${name} has maxmemory-policy ${policy}: when its memory is full, it drops locks that are held, and duplicates reach the database`;
  const remedy = 'CONFIG SET maxmemory-policy noeviction, or a node for locks alone, without caches';
  return isLimited
    ? warning('redis.eviction', message, remedy)
    : hint('redis.eviction', `${message}; it has no maxmemory`, remedy);
}

const CLOCK_OF_REDIS =
  'Locks last for a duration, but Redis expires keys by the time of day: setting the clock ends locks early or late';

async function* clockOf({ name }: Node, client: InspectedClient, timeoutMs: number): Findings {
  if (!client.time) return;
  const startedAt = performance.now();
  const sentAt = Date.now();
  const time = await settleWithin(client.time(), timeoutMs).catch(() => TIME_IS_UP);
  if (!Array.isArray(time)) return;
  const now = Number(time[0]) * 1_000 + Number(time[1]) / 1_000;
  yield skewFinding('redis.clock', `that of ${name}`, CLOCK_OF_REDIS, now - sentAt, performance.now() - startedAt);
}

/** A server that is listed twice has two votes, and its loss is that of both. A replica has none. */
function* independence(nodes: readonly Node[]): Generator<Finding> {
  const replicas = nodes.filter(({ info }) => info.get('role') === 'slave');
  for (const { name } of replicas) {
    yield failure(
      'redis.independence',
      `${name} is a replica: it takes no lock, and a failover to it can lose those of its primary`,
      'List independent servers, without replication between them',
    );
  }
  const firstOf = (node: Node) =>
    nodes.find(({ info }) => info.has('run_id') && info.get('run_id') === node.info.get('run_id')) ?? node;
  const twice = nodes.filter((node) => firstOf(node) !== node);
  for (const node of twice) {
    yield failure(
      'redis.independence',
      `${firstOf(node).name} and ${node.name} are the same server: its loss is that of two votes`,
      'List each server once, and an odd number of them',
    );
  }
  if (nodes.length > 1 && replicas.length + twice.length === 0)
    yield ok('redis.independence', 'The Redis nodes are different servers, none a replica of another');
}

function parsed(info: string): Map<string, string> {
  return new Map(
    info
      .split(/\r?\n/)
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
}
