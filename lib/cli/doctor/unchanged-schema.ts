import { createRequire } from 'node:module';
import { DataSource } from 'typeorm';
import { type Finding, hint } from './finding.js';

/** Methods that change a schema, and what a finding says of each. */
const CHANGES = {
  dropDatabase: 'drops the schema',
  runMigrations: 'runs migrations',
  undoLastMigration: 'reverts a migration',
  synchronize: 'synchronizes the schema',
} as const;

/** `initialize()` itself installs extensions, unless an option says no. */
const EXTENSIONS = 'installs extensions';

type Schema = Record<keyof typeof CHANGES | 'initialize', (...args: unknown[]) => Promise<unknown>>;

/** The data sources of an application. */
export interface Watched {
  readonly changesSchema: (dataSource: DataSource) => boolean;
  /** Returns a finding for each that would have changed its schema. */
  readonly findings: () => Finding[];
  /** All that were asked to connect. */
  readonly dataSources: ReadonlySet<DataSource>;
}

/**
 * Prevents data sources of this process from changing a schema. Options such as `migrationsRun` and `synchronize` make
 * `DataSource.initialize()` call the methods of {@link CHANGES}, and a `dataSourceFactory` may call them itself. The methods stay
 * replaced: an application that is not loaded in time goes on loading, and would drop its schema after the doctor's answer.
 *
 * @param application the file of its root module: it may use another copy of TypeORM than this program
 */
export function keepSchemas(application: string): Watched {
  const dataSources = new Set<DataSource>();
  const kept = new Map<DataSource, Set<string>>();
  const keep = (dataSource: DataSource, change: string) =>
    void kept.set(dataSource, (kept.get(dataSource) ?? new Set()).add(change));
  for (const prototype of new Set([DataSource.prototype, ...prototypesOf(application)])) {
    const methods = prototype as unknown as Schema;
    for (const [method, change] of Object.entries(CHANGES)) {
      methods[method as keyof Schema] = function (this: DataSource, ...args: unknown[]) {
        if (method === 'synchronize' && args[0] === true) keep(this, CHANGES.dropDatabase);
        keep(this, change);
        return Promise.resolve([]);
      };
    }
    const { initialize } = methods;
    methods.initialize = function (this: DataSource) {
      dataSources.add(this);
      if (installsExtensions(this)) keep(this, EXTENSIONS);
      withoutExtensions(this);
      return initialize.call(this);
    };
  }
  return {
    dataSources,
    changesSchema: (one) => kept.has(one),
    findings: () => [...kept].map(([one, changes]) => finding(one, [...changes])),
  };
}

/** Returns those of the copies of TypeORM that the application and @nestjs/typeorm use. */
function prototypesOf(application: string): DataSource[] {
  const require = createRequire(application);
  const from = ['@nestjs/typeorm', 'nestjs-idempotency'].flatMap((name) => {
    try {
      return [createRequire(require.resolve(name))];
    } catch {
      return [];
    }
  });
  return [require, ...from].flatMap((load) => {
    try {
      return [(load('typeorm') as { DataSource: typeof DataSource }).DataSource.prototype];
    } catch {
      return [];
    }
  });
}

interface ExtensionOptions {
  readonly installExtensions?: boolean;
  readonly extensions?: readonly string[];
}

/** Returns whether the options ask for it. By default, a data source of PostgreSQL also installs what its columns need: not a finding. */
function installsExtensions({ options }: DataSource): boolean {
  const { installExtensions, extensions = [] } = options as ExtensionOptions;
  return installExtensions === true || (installExtensions !== false && extensions.length > 0);
}

/** The driver gets a copy of the options: the application's own object may be frozen, or shared. */
function withoutExtensions({ driver }: DataSource): void {
  if (driver.options.type !== 'postgres') return;
  driver.options = { ...driver.options, installExtensions: false } as typeof driver.options;
}

function finding({ options }: DataSource, changes: readonly string[]): Finding {
  const { name = 'default' } = options as { name?: string };
  return hint(
    'application.schema',
    `When the application starts, its data source "${name}" ${changes.join(', ')}. The doctor left this out`,
    'Where tables or columns are missing below, start the application once, or run its migrations, and examine it again',
  );
}
