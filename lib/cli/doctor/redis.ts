import { assertRedisNodes, type RedisLike, RedlockRecordLock } from '../../lock/index.js';
import { settleWithin, TIME_IS_UP } from '../../lock/settle-within.js';
import { failure, type Finding, hint, ok, warning } from './finding.js';
import { skewFinding } from './server.js';

/** A healthy node answers in a millisecond; a vote at a request's usual limit would fail on a distant one. */
const PROBE_MS = 1_000;

/** What of an ioredis client is asked beyond what locks need. */
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
 * Examines the Redis nodes of the option `redis`. Correctness never depends on them, unless `onLockUnavailable` is `'reject'`:
 * findings are warnings otherwise.
 *
 * @param isRequired whether requests are refused without a quorum
 */
export async function redis(clients: readonly RedisLike[], isRequired: boolean, timeoutMs: number): Promise<Finding[]> {
  const findings: Finding[] = [...count(clients), ...(await quorum(clients, isRequired))];
  const nodes: Node[] = [];
  for (const [index, client] of (clients as readonly InspectedClient[]).entries()) {
    const name = `Redis node ${index + 1}`;
    if (client.listenerCount?.('error') === 0) {
      findings.push(
        hint(
          'redis.listener',
          `${name} has no listener for errors: ioredis prints each lost connection to the console`,
          "redis.on('error', (error) => logger.warn(error.message))",
        ),
      );
    }
    // A Cluster answers for a node that it chooses.
    if (client.isCluster === true || !client.info) continue;
    const info = await settleWithin(client.info(), timeoutMs).catch((error: Error) => error);
    if (info === TIME_IS_UP || info instanceof Error) {
      const reason = info === TIME_IS_UP ? `no answer within ${timeoutMs} ms` : info.message.split('\n')[0];
      findings.push(
        warning('redis.node', `${name} cannot be examined: ${reason}`, 'See that it runs and accepts connections'),
      );
      continue;
    }
    const node = { name, info: parsed(info) };
    nodes.push(node);
    findings.push(...memory(node), ...(await clockOf(node, client, timeoutMs)));
  }
  return [...findings, ...independence(nodes)];
}

function count(clients: readonly RedisLike[]): Finding[] {
  try {
    assertRedisNodes(clients);
  } catch (error) {
    return [failure('redis.nodes', (error as Error).message, 'List one node, or three or five that are independent')];
  }
  if (clients.length > 1) return [ok('redis.nodes', `${clients.length} Redis nodes are listed, an odd number`)];
  return [ok('redis.nodes', 'One Redis node is listed: without it, requests go on without the lock')];
}

async function quorum(clients: readonly RedisLike[], isRequired: boolean): Promise<Finding[]> {
  let lock: RedlockRecordLock;
  try {
    lock = new RedlockRecordLock(clients, { attemptTimeout: PROBE_MS });
  } catch {
    return [];
  }
  const { nodes, answering, quorum: needed, failures } = await lock.probe();
  await lock.close();
  const message = `${answering} of ${nodes} Redis nodes take a lock, and ${needed} have to`;
  if (answering === nodes) return [ok('redis.quorum', message)];
  const said = `${message}: ${failures.join(', ')}`;
  if (answering >= needed)
    return [warning('redis.quorum', said, 'Bring the others back: one or two more, and no lock is taken')];
  const effect = isRequired
    ? 'requests are refused with 503'
    : 'requests go on without the lock, at the cost of load on the database';
  const make = isRequired ? failure : warning;
  return [
    make(
      'redis.quorum',
      `${said}; ${effect}`,
      'Bring them back, or take out of the option `redis` what is gone for good',
    ),
  ];
}

function memory({ name, info }: Node): Finding[] {
  const policy = info.get('maxmemory_policy') ?? 'noeviction';
  if (policy === 'noeviction') return [ok('redis.eviction', `${name} evicts nothing (maxmemory-policy noeviction)`)];
  const isLimited = Number(info.get('maxmemory') ?? 0) > 0;
  const message = `${name} has maxmemory-policy ${policy}: when its memory is full, it drops locks that are held, and duplicates reach the database`;
  const remedy = 'CONFIG SET maxmemory-policy noeviction, or a node of its own for locks, apart from caches';
  return [
    isLimited
      ? warning('redis.eviction', message, remedy)
      : hint('redis.eviction', `${message}; it has no maxmemory`, remedy),
  ];
}

const CLOCK_OF_REDIS =
  'Locks are counted in durations; but Redis expires by the time of day, and a clock that is set ends locks early or late';

async function clockOf({ name }: Node, client: InspectedClient, timeoutMs: number): Promise<Finding[]> {
  if (!client.time) return [];
  const startedAt = performance.now();
  const sentAt = Date.now();
  const time = await settleWithin(client.time(), timeoutMs).catch(() => TIME_IS_UP);
  if (!Array.isArray(time)) return [];
  const now = Number(time[0]) * 1_000 + Number(time[1]) / 1_000;
  return [skewFinding('redis.clock', `that of ${name}`, CLOCK_OF_REDIS, now - sentAt, performance.now() - startedAt)];
}

/** Two votes of one server are one that is counted twice, and a replica has none. */
function independence(nodes: readonly Node[]): Finding[] {
  const findings: Finding[] = [];
  for (const { name, info } of nodes) {
    if (info.get('role') !== 'slave') continue;
    findings.push(
      failure(
        'redis.independence',
        `${name} is a replica: it takes no lock, and a failover to it can lose those of its primary`,
        'List independent servers, without replication between them',
      ),
    );
  }
  nodes.forEach((node, i) => {
    const same = nodes
      .slice(0, i)
      .find(({ info }) => info.has('run_id') && info.get('run_id') === node.info.get('run_id'));
    if (!same) return;
    findings.push(
      failure(
        'redis.independence',
        `${same.name} and ${node.name} are the same server: its loss is that of two votes`,
        'List each server once, and an odd number of them',
      ),
    );
  });
  if (nodes.length > 1 && findings.length === 0)
    findings.push(ok('redis.independence', 'The Redis nodes are different servers, none a replica of another'));
  return findings;
}

function parsed(info: string): Map<string, string> {
  return new Map(
    info
      .split(/\r?\n/)
      .filter((line) => line.includes(':'))
      .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  );
}
