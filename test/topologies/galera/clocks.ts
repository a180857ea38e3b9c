import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { AppProcess } from '../../support/app-process.js';
import { call } from '../../support/http-client.js';
import type { Setup } from '../support/order.js';
import { Provider } from '../support/provider.js';
import type { GaleraNode } from './galera.js';

const APP = fileURLToPath(new URL('../support/app.js', import.meta.url));
const OPERATIONS = 8;
/** How often each of them is asked for at the other node, in milliseconds. */
const ASK_EVERY = 60;

/** Two applications at two nodes, whose clocks differ. */
export class Clocks {
  private constructor(
    private readonly node: GaleraNode,
    private readonly provider: Provider,
    private readonly apps: readonly AppProcess[],
    private readonly leaseMs: number,
  ) {}

  /** @param node the one whose clock is set */
  static async start(other: GaleraNode, node: GaleraNode, leaseMs: number): Promise<Clocks> {
    const provider = await Provider.listen();
    const start = (database: object) => {
      const options = { lease: leaseMs, sweep: false, maxAttempts: 100 } as const;
      const setup: Setup = { platform: 'express', database, providerUrl: provider.url, options };
      return AppProcess.run(APP, { SETUP: JSON.stringify(setup) });
    };
    // The first makes the tables.
    const apps = [await start({ ...other.options, synchronize: true }), await start(node.options)];
    return new Clocks(node, provider, apps, leaseMs);
  }

  /**
   * Runs plain operations of two leases through the other node, while duplicates of them ask at the node whose clock is ahead.
   *
   * @returns how many of them ran more than once, though their owner renewed its lease
   */
  async doubled(aheadMs: number): Promise<number> {
    await this.node.setClock(aheadMs);
    const running = Array.from({ length: OPERATIONS }, async (_, i) => {
      await sleep((i * this.leaseMs) / OPERATIONS / 3);
      return this.runs();
    });
    const doubled = (await Promise.all(running)).filter((runs) => runs > 1).length;
    await this.node.setClock(0);
    return doubled;
  }

  async stop(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.stop()));
    this.provider.close();
  }

  private async runs(): Promise<number> {
    const key = randomUUID();
    const op = randomUUID();
    // A server may close a connection that was idle at the moment it is used: another request asks as well.
    const ask = (app: AppProcess): Promise<unknown> =>
      call(`${app.url}/plain`, { key, body: { op, work: 2 * this.leaseMs } }).catch(() => undefined);
    const [here, there] = this.apps;
    let ended = false;
    const first = ask(here).finally(() => (ended = true));
    const asked: Promise<unknown>[] = [];
    await sleep(this.leaseMs / 10);
    for (; !ended; await sleep(ASK_EVERY)) asked.push(ask(there));
    await Promise.all([first, ...asked]);
    const runs = this.provider.happenings.get(op)?.length ?? 0;
    if (runs === 0) throw new Error('an operation did not run');
    return runs;
  }
}
