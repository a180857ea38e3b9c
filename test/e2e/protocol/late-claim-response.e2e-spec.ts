import { randomUUID } from 'node:crypto';
import type { AppProcess } from '../../support/app-process.js';
import { Cluster, sleep } from '../../support/cluster.js';
import { type Answer, call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';

const STORE_TIMEOUT = 500;

/**
 * Found by the lab (SEED=b): a claim without an answer is sent again under the same owner. When both answers came, the
 * first was taken for an abandoned one and its record was deleted, while the handler ran on what the second had said: the next
 * request found no record, and ran as well.
 */
describe.each(['postgres', 'mariadb'] as const)('a claim that is answered late on %s', (dialect) => {
  let cluster: Cluster;
  let proxy: TcpProxy;
  let behind: AppProcess;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: 5_000, storeTimeout: STORE_TIMEOUT });
    const { port } = cluster.database.options as { port: number };
    proxy = await TcpProxy.listen(port);
    behind = await cluster.add({ SYNCHRONIZE: 'off' }, { port: proxy.port });
  });

  afterAll(async () => {
    await cluster?.stop();
    await proxy?.close();
  });

  /** A request whose first claim is answered once it has been sent again. */
  async function late(tries = 5): Promise<{ key: string; body: { name: string }; answer: Answer }> {
    const key = randomUUID();
    const body = { name: `late-${tries}`, before: 300 };
    proxy.blackhole(true);
    const first = call(`${behind.url}/plain`, { key, body });
    await sleep(STORE_TIMEOUT + 200);
    proxy.blackhole(false);
    const answer = await first;
    // A busy machine came too late to send it again.
    return answer.status === 503 && tries > 1 ? late(tries - 1) : { key, body, answer };
  }

  test('is not given back once the owner has asked again', async () => {
    // Connections that the second claim can use at once.
    const warm = Array.from({ length: 4 }, (_, i) =>
      call(`${behind.url}/plain`, { key: randomUUID(), body: { name: `warm-${i}`, before: 50 } }),
    );
    await Promise.all(warm);
    const { key, body, answer } = await late();
    expect(answer.status).toBe(201);
    const again = await call(`${cluster.apps[0].url}/plain`, { key, body });
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.body).toBe(answer.body);
    expect(await cluster.effects(body.name)).toHaveLength(1);
  });
});
