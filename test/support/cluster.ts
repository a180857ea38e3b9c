import { AppProcess, type Environment } from './app-process.js';
import { createDatabase, type TestDatabase, type TestDialect } from './database.js';
import { call } from './http-client.js';

interface Effect {
  readonly name: string;
  readonly attempt: number;
  readonly token: number;
  readonly pid: number;
}

/** Several processes of the protocol app over one database of their own. */
export class Cluster {
  readonly apps: AppProcess[] = [];

  private constructor(
    readonly database: TestDatabase,
    private readonly env: Environment,
  ) {}

  /** @param on a new database of this kind, or this one */
  static async start(
    on: TestDialect | TestDatabase,
    count: number,
    options: object = {},
    env: Environment = {},
  ): Promise<Cluster> {
    const database = typeof on === 'string' ? await createDatabase(on) : on;
    const cluster = new Cluster(database, { OPTIONS: JSON.stringify(options), ...env });
    // The first makes the tables.
    while (cluster.apps.length < count) await cluster.add(cluster.apps.length ? { SYNCHRONIZE: 'off' } : {});
    return cluster;
  }

  /** Starts one more process; `overrides` of the database's options as `DATABASE` are merged in. */
  async add(env: Environment = {}, overrides: object = {}): Promise<AppProcess> {
    const DATABASE = JSON.stringify({ ...this.database.options, ...overrides });
    const app = await AppProcess.start('protocol-app', { ...this.env, DATABASE, ...env });
    this.apps.push(app);
    return app;
  }

  urls(route: string): string[] {
    return this.apps.filter((app) => app.running).map((app) => `${app.url}/${route}`);
  }

  async effects(name: string): Promise<Effect[]> {
    const answer = await call(this.urls(`effects/${name}`)[0], { method: 'GET' });
    return (JSON.parse(answer.body) as Effect[]).sort((a, b) => a.token - b.token);
  }

  async stop(): Promise<void> {
    await Promise.all(this.apps.map((app) => app.stop()));
    await this.database.drop();
  }
}

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Waits for a message of an app of which `condition` holds. */
export async function messageFrom(
  app: AppProcess,
  condition: (message: Record<string, never>) => boolean,
  limit = 10_000,
) {
  const giveUpAt = Date.now() + limit;
  while (!app.messages.some((message) => condition(message as Record<string, never>))) {
    if (Date.now() > giveUpAt)
      throw new Error(`no such message within ${limit} ms: ${condition.toString()}\n${app.output}`);
    await sleep(5);
  }
}

export const began = (app: AppProcess, name: string) => messageFrom(app, (message) => message.began === name);

/** The events of a kind that an app has reported. */
export function eventsOf(app: AppProcess, type: string): Record<string, unknown>[] {
  return app.messages
    .map((message) => (message as { event?: Record<string, unknown> }).event)
    .filter((event) => event?.type === type) as Record<string, unknown>[];
}
