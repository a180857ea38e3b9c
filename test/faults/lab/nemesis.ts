import { setTimeout as sleep } from 'node:timers/promises';
import { FAULT_POINTS } from '../../../lib/testing/points.js';
import type { Log } from '../history/log.js';
import type { App } from './app.js';
import type { Network } from './network.js';
import type { Random } from './random.js';
import { childrenOf, flush, type Servers } from './servers.js';

export interface Scene {
  readonly apps: readonly App[];
  readonly network: Network;
  readonly servers: Servers;
  readonly leaseMs: number;
  readonly random: Random;
  readonly log: Log;
}

/** Does harm and undoes it. Whom it was done to is told by `on`, at its beginning. */
type FaultWork = (scene: Scene, on: (whom: string) => void) => Promise<void>;

const OWN_POINTS = ['before effect', 'after effect'];
const STORE_CALLS = ['claim', 'complete', 'commit', 'release', 'renew', 'step begin', 'step end', 'read'] as const;
const HOUR = 3_600_000;

/** What goes wrong, and how often. */
export const FAULTS: Readonly<Record<string, readonly [weight: number, work: FaultWork]>> = {
  'kill -9': [
    3,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      on(app.name);
      await app.kill();
      await sleep(random.between(0, 500));
      await app.start();
    },
  ],
  'crash at a point': [
    8,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      const at = random.pick([...FAULT_POINTS, ...OWN_POINTS]);
      on(`${app.name} ${at}`);
      app.tell({ do: 'crash', at });
      if (!(await app.ended(1_500))) app.tell({ do: 'disarm' });
      await app.start();
    },
  ],
  pause: [
    6,
    async ({ apps, random, leaseMs }, on) => {
      const app = random.pick(apps);
      on(app.name);
      app.signal('SIGSTOP');
      await sleep(leaseMs + random.between(100, 1_200));
      app.signal('SIGCONT');
    },
  ],
  'cut connections': [
    2,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.cut();
    },
  ],
  'cut after a statement': [
    5,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.cutAfterRequest(random.between(1, 4));
    },
  ],
  'database black-holed': [
    2,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.blackhole(true);
      await sleep(random.between(200, 3_000));
      network.links[i].database.blackhole(false);
    },
  ],
  'database refused': [
    2,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      const { database } = network.links[i];
      await database.refuse(true);
      database.cut();
      await sleep(random.between(200, 2_000));
      await database.refuse(false);
    },
  ],
  'database slow': [
    1,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.delay(random.between(20, 150));
      await sleep(random.between(500, 1_500));
      network.links[i].database.delay(0);
    },
  ],
  'request or answer lost': [
    5,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      const of = random.pick(STORE_CALLS);
      const what = random.pick(['lose request', 'lose answer'] as const);
      on(`${app.name} ${what} ${of}`);
      app.tell({ do: what, of });
    },
  ],
  'slow at a point': [
    2,
    async ({ apps, random, leaseMs }, on) => {
      const app = random.pick(apps);
      const at = random.pick(FAULT_POINTS);
      on(`${app.name} ${at}`);
      app.tell({ do: 'delay', at, ms: random.between(100, leaseMs * 1.5) });
    },
  ],
  'pool exhausted': [
    1,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      on(app.name);
      const ms = random.between(300, 1_500);
      app.tell({ do: 'exhaust pool', ms });
      await sleep(ms);
    },
  ],
  'clock shifted': [
    2,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      const ms = random.pick([-HOUR, -3_000, 0, 3_000, HOUR]);
      on(`${app.name} ${ms} ms`);
      app.tell({ do: 'shift clock', ms });
    },
  ],
  'redis killed': [
    1,
    async ({ servers, random }, on) => {
      const node = random.pick(servers.redis);
      on(`redis ${node.port}`);
      await node.kill();
      await sleep(random.between(200, 2_000));
      await node.start();
    },
  ],
  'redis flushed': [
    2,
    async ({ servers, random }, on) => {
      on('all redis nodes');
      await Promise.all(servers.redis.slice(0, random.between(1, 5)).map(flush));
    },
  ],
  'redis paused': [
    1,
    async ({ servers, random }, on) => {
      const node = random.pick(servers.redis);
      on(`redis ${node.port}`);
      node.pause();
      await sleep(random.between(200, 2_000));
      node.resume();
    },
  ],
  'redis isolated': [
    2,
    async ({ network, random }, on) => {
      const i = random.between(0, network.links.length - 1);
      const nodes = network.links[i].redis.slice(0, random.between(1, 5));
      on(`app${i + 1} from ${nodes.length}`);
      for (const node of nodes) node.blackhole(true);
      await sleep(random.between(300, 2_500));
      for (const node of nodes) node.blackhole(false);
    },
  ],
  'quorum lost': [
    1,
    async ({ servers, random }, on) => {
      on('3 redis nodes');
      const nodes = servers.redis.slice(0, 3);
      await Promise.all(nodes.map((node) => node.kill()));
      await sleep(random.between(500, 2_500));
      await Promise.all(nodes.map((node) => node.start()));
    },
  ],
  'database stopped': [
    1,
    async ({ servers, random }, on) => {
      on(servers.dialect);
      await servers.database.stop(servers.dialect === 'postgres' ? 'SIGQUIT' : 'SIGKILL');
      await sleep(random.between(0, 1_000));
      await servers.database.start();
    },
  ],
  'disk full': [
    2,
    async ({ servers: { disk }, random }, on) => {
      if (!disk) return;
      on('tables');
      await disk.fill();
      await sleep(random.between(500, 2_500));
      disk.free();
    },
  ],
  'backend killed': [
    1,
    async ({ servers, random }, on) => {
      const children = servers.dialect === 'postgres' ? childrenOf(servers.database.pid!) : [];
      on(`${servers.dialect}, one of ${children.length}`);
      // PostgreSQL takes all others down with it, and recovers.
      if (children.length) process.kill(random.pick(children), 'SIGKILL');
      await sleep(500);
    },
  ],
};

/** Faults that the same server cannot stand twice at a time. */
const ALONE = new Set(['database stopped', 'backend killed', 'quorum lost', 'redis killed', 'redis paused']);

/** Makes things go wrong, one after the other and side by side, as the seed says. */
export class Nemesis {
  private stopped = false;
  private readonly busy = new Set<string>();
  private count = 0;

  constructor(
    private readonly scene: Scene,
    private readonly pauseMs: readonly [number, number] = [50, 700],
  ) {}

  async run(): Promise<void> {
    await Promise.all([this.work(), this.work()]);
  }

  stop(): void {
    this.stopped = true;
  }

  private async work(): Promise<void> {
    const { random } = this.scene;
    const choices = Object.entries(FAULTS).map(([name, [weight]]) => [name, weight] as const);
    while (!this.stopped) {
      await sleep(random.between(...this.pauseMs));
      const name = random.weighted(choices);
      const kind = ALONE.has(name) ? 'servers' : name;
      if (this.stopped || this.busy.has(kind)) continue;
      this.busy.add(kind);
      await this.inflict(name);
      this.busy.delete(kind);
    }
  }

  private async inflict(fault: string): Promise<void> {
    const { log } = this.scene;
    const number = ++this.count;
    try {
      await FAULTS[fault][1](this.scene, (on) => log.say({ kind: 'fault', fault, on, number }));
    } finally {
      log.say({ kind: 'fault over', number });
    }
  }
}
