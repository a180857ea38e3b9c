import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { IDEMPOTENCY_ENTITIES } from 'nestjs-idempotency';
import { AppProcess } from '../../support/app-process.js';
import { until } from '../../support/until.js';
import { check, type MayForget, type Verdict } from './check.js';
import { Clients } from './clients.js';
import { now } from './clock.js';
import { EffectRow } from './effect-row.js';
import { type Route, ROUTES, type Setup } from './order.js';
import { Provider } from './provider.js';

const APP = fileURLToPath(new URL('./app.js', import.meta.url));

export interface TopologySettings {
  /** Of the folder: each line begins with it. */
  readonly name: string;
  /** What each application connects to, by TypeORM's options: an application for each. */
  readonly databases: readonly DataSourceOptions[];
  /** Where the tables are made, and effects are counted in the end; the first application's database by default. */
  readonly administration?: DataSourceOptions;
  readonly options?: Setup['options'];
  /** How long an execution owns its record, in milliseconds: 3,000 by default. */
  readonly leaseMs?: number;
  readonly workers?: number;
}

export interface Scenario {
  /** Begins and ends the fault, while requests are under way. May say which acknowledgements it may have taken with it. */
  readonly fault: () => Promise<MayForget | void>;
  /** The longest that no operation may be served, in milliseconds. */
  readonly gapLimitMs: number;
  /** All of {@link ROUTES} by default. */
  readonly routes?: readonly Route[];
  /** Waits for what has to come true once requests are served again, which go on meanwhile. The last word on what may be lost. */
  readonly after?: () => Promise<MayForget | void>;
  /** Nothing dies that runs operations: one that runs again after its lease is a violation. */
  readonly nothingDies?: boolean;
  /** What its line says beside the rest, asked for in the end. */
  readonly notes?: () => Promise<string>;
}

/** What the command was called with. */
export const { values: flags } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    only: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    times: { type: 'string', default: '1' },
  },
});

/** Operations that have to be served before a fault begins, and again after it has ended. */
const SERVED_BEFORE = 200;
const SERVED_AFTER = 200;
const SHOWN = 10;

/** How many scenarios this process has run, over whatever topology. */
let ran = 0;

/**
 * Applications over databases that the topology has started, with clients that ask for operations while faults are
 * inflicted. The applications stay up from one scenario to the next.
 */
export class Topology {
  failed = 0;

  private constructor(
    private readonly settings: TopologySettings,
    private readonly provider: Provider,
    private readonly apps: AppProcess[],
  ) {}

  static async start(settings: TopologySettings): Promise<Topology> {
    const { databases, administration = databases[0] } = settings;
    await makeTables(administration);
    const provider = await Provider.listen();
    const topology = new Topology(settings, provider, []);
    await Promise.all(databases.map((_, i) => topology.startApp(i)));
    return topology;
  }

  private get leaseMs(): number {
    return this.settings.leaseMs ?? 3_000;
  }

  /** Starts one application again that was stopped, or one for another database. */
  async startApp(i: number): Promise<void> {
    const { databases, options } = this.settings;
    const setup: Setup = {
      platform: i % 2 ? 'fastify' : 'express',
      database: databases[i],
      providerUrl: this.provider.url,
      options: { lease: this.leaseMs, sweep: false, maxAttempts: 100, ...options },
    };
    this.apps[i] = await AppProcess.run(APP, { SETUP: JSON.stringify(setup) });
  }

  app(i: number): AppProcess {
    return this.apps[i];
  }

  /** Runs one scenario, and prints its line. Returns whether it was as it has to be. */
  async run(
    scenario: string,
    { fault, gapLimitMs, routes = ROUTES, after, nothingDies, notes }: Scenario,
  ): Promise<boolean> {
    if (flags.only !== undefined && !new RegExp(flags.only).test(scenario)) return true;
    ran++;
    const violations: string[] = [];
    const clients = new Clients({
      urls: () => this.apps.filter((app) => app.running).map((app) => app.url),
      routes,
      workers: this.settings.workers ?? 24,
      patienceMs: 4_000,
    });
    clients.start();
    let begunAt = now();
    let mayForget: MayForget | undefined;
    try {
      await until(() => clients.served.length >= SERVED_BEFORE, 60_000);
      begunAt = now();
      mayForget = (await fault()) ?? undefined;
      const served = clients.served.length;
      await until(() => clients.served.length >= served + SERVED_AFTER, gapLimitMs + 60_000);
      mayForget = (await after?.()) ?? mayForget;
    } catch (error) {
      violations.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
    await clients.stop(this.leaseMs + 20_000);
    await clients.askAgain(this.leaseMs + 20_000);
    const gap = longestGap(clients.served, begunAt);
    if (gap > gapLimitMs)
      violations.push(`nothing was served for ${Math.round(gap)} ms; the limit is ${gapLimitMs} ms`);
    let verdict: Verdict = { violations: [], takenOver: 0, forgotten: [], repeated: 0 };
    try {
      verdict = check({
        operations: clients.operations,
        happenings: this.provider.happenings,
        rows: await this.rows(),
        leaseMs: this.leaseMs,
        mayForget,
      });
    } catch (error) {
      violations.push(`the effects could not be counted: ${String(error)}`);
    }
    violations.push(...verdict.violations);
    const { takenOver, forgotten, repeated } = verdict;
    if (nothingDies && takenOver) violations.push(`${takenOver} operations ran again, though nothing had died`);
    const parts = [
      `${clients.operations.length.toLocaleString('en')} operations`,
      `gap ${seconds(gap)}`,
      takenOver && `${takenOver} taken over`,
      forgotten.length > 0 &&
        `${forgotten.length} forgotten (acknowledged up to ${seconds(Math.max(...forgotten) - begunAt)} after the fault began)`,
      repeated && `${repeated} repeated outside`,
      await notes?.(),
      `${violations.length} ${violations.length === 1 ? 'violation' : 'violations'}`,
    ];
    console.log(`${this.settings.name}: ${scenario}: ${parts.filter(Boolean).join(', ')}`);
    for (const violation of violations.slice(0, SHOWN)) console.log(`  ${violation}`);
    if (flags.verbose) console.log(' ', Object.fromEntries(clients.refusals));
    if (violations.length) this.failed++;
    if (violations.length || flags.verbose) {
      for (const [i, app] of this.apps.entries())
        if (app.output) console.log(`  app ${i}: ${app.output.slice(-3_000)}`);
    }
    return violations.length === 0;
  }

  /** Ends the applications. Returns whether all was as it has to be. */
  async stop(): Promise<boolean> {
    await Promise.all(this.apps.map((app) => app.stop()));
    this.provider.close();
    const isMistyped = ran === 0 && flags.only !== undefined;
    if (isMistyped) console.log(`${this.settings.name}: no scenario matches ${flags.only}`);
    return this.failed === 0 && !isMistyped;
  }

  /** The database may still be coming back. */
  private async rows(): Promise<EffectRow[]> {
    const { databases, administration = databases[0] } = this.settings;
    return patiently(() => withDataSource(administration, (dataSource) => dataSource.manager.find(EffectRow)));
  }
}

/** The longest time without an operation that was served, from a moment on. */
function longestGap(served: readonly number[], from: number): number {
  const times = [from, ...served.filter((at) => at > from)];
  return Math.max(0, ...times.slice(1).map((at, i) => at - times[i]));
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

async function makeTables(options: DataSourceOptions): Promise<void> {
  await withDataSource({ ...options, synchronize: true } as DataSourceOptions, async () => undefined);
}

async function withDataSource<T>(options: DataSourceOptions, work: (dataSource: DataSource) => Promise<T>): Promise<T> {
  const entities = [EffectRow, ...IDEMPOTENCY_ENTITIES];
  const dataSource = await new DataSource({ ...options, entities } as DataSourceOptions).initialize();
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

/** Tries again for half a minute. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const giveUpAt = now() + 30_000; ; await sleep(200)) {
    try {
      return await work();
    } catch (error) {
      if (now() > giveUpAt) throw error;
    }
  }
}
