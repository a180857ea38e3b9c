import { setTimeout as sleep } from 'node:timers/promises';
import { FAULT_POINTS } from '../../../lib/testing/points.js';
import type { Log } from '../history/log.js';
import type { App } from './app.js';
import type { Network } from './network.js';
import type { Pace } from './profile.js';
import type { Random } from './random.js';
import { flush, type Servers } from './servers.js';

export interface Scene {
  readonly apps: readonly App[];
  readonly network: Network;
  readonly servers: Servers;
  /** The Redis nodes that the applications use. */
  readonly redis: Servers['redis'];
  readonly leaseMs: number;
  readonly random: Random;
  readonly log: Log;
  readonly pace: Pace;
}

/** Does harm and undoes it. `on` names what it was done to, at its beginning. */
type FaultWork = (scene: Scene, on: (whom: string) => void) => Promise<void>;

/** How long something lasts, in milliseconds, where the pace is 1. */
function lasts({ random, pace }: Scene, low: number, high: number): Promise<void> {
  return sleep(random.between(low, high) * pace.outages);
}

/** Applications that may be ended. */
function mortal({ apps, random }: Scene): App {
  return random.pick(apps.filter(({ spared }) => !spared));
}

const OWN_POINTS = ['before effect', 'after effect'];
const STORE_CALLS = ['claim', 'complete', 'commit', 'release', 'renew', 'step begin', 'step end', 'read'] as const;
const HOUR = 3_600_000;

/** What goes wrong, and how often. */
export const FAULTS: Readonly<Record<string, readonly [weight: number, work: FaultWork]>> = {
  'kill -9': [
    3,
    async (scene, on) => {
      const app = mortal(scene);
      on(app.name);
      await app.kill();
      await lasts(scene, 0, 500);
      await app.start();
    },
  ],
  'crash at a point': [
    8,
    async (scene, on) => {
      const { random } = scene;
      const app = mortal(scene);
      const at = random.pick([...FAULT_POINTS, ...OWN_POINTS]);
      on(`${app.name} ${at}`);
      app.send({ do: 'crash', at });
      if (!(await app.ended(1_500))) app.send({ do: 'disarm' });
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
    async (scene, on) => {
      const { network, random } = scene;
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.blackhole(true);
      await lasts(scene, 200, 3_000);
      network.links[i].database.blackhole(false);
    },
  ],
  'database refused': [
    2,
    async (scene, on) => {
      const { network, random } = scene;
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      const { database } = network.links[i];
      await database.refuse(true);
      database.cut();
      await lasts(scene, 200, 2_000);
      await database.refuse(false);
    },
  ],
  'database slow': [
    1,
    async (scene, on) => {
      const { network, random } = scene;
      const i = random.between(0, network.links.length - 1);
      on(`app${i + 1}`);
      network.links[i].database.delay(random.between(20, 150));
      await lasts(scene, 500, 1_500);
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
      app.send({ do: what, of });
    },
  ],
  'slow at a point': [
    2,
    async ({ apps, random, leaseMs }, on) => {
      const app = random.pick(apps);
      const at = random.pick(FAULT_POINTS);
      on(`${app.name} ${at}`);
      app.send({ do: 'delay', at, ms: random.between(100, leaseMs * 1.5) });
    },
  ],
  'pool exhausted': [
    1,
    async ({ apps, random, pace }, on) => {
      const app = random.pick(apps);
      on(app.name);
      const ms = random.between(300, 1_500) * pace.outages;
      app.send({ do: 'exhaust pool', ms });
      await sleep(ms);
    },
  ],
  'clock shifted': [
    2,
    async ({ apps, random }, on) => {
      const app = random.pick(apps);
      const ms = random.pick([-HOUR, -3_000, 0, 3_000, HOUR]);
      on(`${app.name} ${ms} ms`);
      app.send({ do: 'shift clock', ms });
    },
  ],
  'redis killed': [
    1,
    async (scene, on) => {
      const { redis, random } = scene;
      const node = random.pick(redis);
      on(`redis ${node.port}`);
      await node.kill();
      await lasts(scene, 200, 2_000);
      await node.start();
    },
  ],
  'redis flushed': [
    2,
    async ({ redis, random }, on) => {
      const nodes = redis.slice(0, random.between(1, redis.length));
      on(`${nodes.length} redis nodes`);
      await Promise.all(nodes.map(flush));
    },
  ],
  'redis paused': [
    1,
    async (scene, on) => {
      const { redis, random } = scene;
      const node = random.pick(redis);
      on(`redis ${node.port}`);
      node.pause();
      await lasts(scene, 200, 2_000);
      node.resume();
    },
  ],
  'redis isolated': [
    2,
    async (scene, on) => {
      const { network, random } = scene;
      const i = random.between(0, network.links.length - 1);
      const { redis } = network.links[i];
      const nodes = redis.slice(0, random.between(1, redis.length));
      on(`app${i + 1} from ${nodes.length}`);
      for (const node of nodes) node.blackhole(true);
      await lasts(scene, 300, 2_500);
      for (const node of nodes) node.blackhole(false);
    },
  ],
  'quorum lost': [
    1,
    async (scene, on) => {
      const nodes = scene.redis.slice(0, Math.ceil(scene.redis.length / 2));
      on(`${nodes.length} redis nodes`);
      await Promise.all(nodes.map((node) => node.kill()));
      await lasts(scene, 500, 2_500);
      await Promise.all(nodes.map((node) => node.start()));
    },
  ],
  'database stopped': [
    1,
    async (scene, on) => {
      const { servers } = scene;
      on(servers.dialect);
      await servers.database.stop(servers.dialect === 'postgres' ? 'SIGQUIT' : 'SIGKILL');
      await lasts(scene, 0, 1_000);
      await servers.database.start();
    },
  ],
  'disk full': [
    2,
    async (scene, on) => {
      const { disk } = scene.servers;
      if (!disk) return;
      on('tables');
      disk.fill();
      await lasts(scene, 500, 2_500);
      disk.free();
    },
  ],
  'backend killed': [
    1,
    async (scene, on) => {
      on(scene.servers.dialect);
      await scene.servers.killOneBackend(scene.random);
      await lasts(scene, 500, 500);
    },
  ],
  /** A primary that was demoted and stays up: connections stay, and nothing is written. */
  'database read-only': [
    2,
    async (scene, on) => {
      const { servers } = scene;
      if (!(await servers.readOnly(true))) return;
      on(servers.dialect);
      await lasts(scene, 300, 2_500);
      while (!(await servers.readOnly(false))) await sleep(100);
    },
  ],
};

/** Faults that the same server cannot stand twice at a time. */
const ALONE = new Set([
  'database stopped',
  'database read-only',
  'backend killed',
  'quorum lost',
  'redis killed',
  'redis paused',
]);

/** Makes things go wrong, one after the other and side by side, as the seed says. */
export class Nemesis {
  private stopped = false;
  private readonly busy = new Set<string>();
  private count = 0;

  constructor(private readonly scene: Scene) {}

  async run(): Promise<void> {
    await Promise.all([this.work(), this.work()]);
  }

  stop(): void {
    this.stopped = true;
  }

  private async work(): Promise<void> {
    const { random, pace } = this.scene;
    const choices = Object.entries(FAULTS).map(([name, [weight]]) => [name, pace.weights[name] ?? weight] as const);
    while (!this.stopped) {
      await sleep(random.between(...pace.pauseMs));
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
