import { createRequire } from 'node:module';
import { DataSource } from 'typeorm';
import { type Finding, hint } from './finding.js';

/** Methods by which a data source changes its schema, and how a finding names what each does. */
const CHANGES = {
  dropDatabase: 'drops the schema',
  runMigrations: 'runs migrations',
  undoLastMigration: 'reverts a migration',
  synchronize: 'synchronizes the schema',
} as const;

/** An extension is installed by `initialize()` itself, which has an option for it. */
const EXTENSIONS = 'installs extensions';

type Schema = Record<keyof typeof CHANGES | 'initialize', (...args: unknown[]) => Promise<unknown>>;

/** What is known of the data sources of an application. */
export interface Watched {
  /** A finding for each that would have changed its schema. */
  readonly findings: () => Finding[];
  /** All that were to connect. */
  readonly dataSources: ReadonlySet<DataSource>;
}

/**
 * Keeps data sources of this process from changing a schema. Options such as `migrationsRun` and `synchronize` make
 * `DataSource.initialize()` call the methods of {@link CHANGES}, and a `dataSourceFactory` may call them itself. The methods stay
 * replaced: an application that was not loaded in time goes on loading, and would drop its schema afterwards.
 *
 * @param application the file of its root module: its TypeORM may be another copy than the command's
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
  return { dataSources, findings: () => [...kept].map(([one, changes]) => finding(one, [...changes])) };
}

/** The copies of TypeORM that the application and @nestjs/typeorm use. */
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

/** Whether the options ask for it: by default, every data source of PostgreSQL installs what its columns need. */
function installsExtensions({ options }: DataSource): boolean {
  const { installExtensions, extensions = [] } = options as ExtensionOptions;
  return installExtensions === true || (installExtensions !== false && extensions.length > 0);
}

/** The options are the application's own object, which may be frozen or shared: the driver gets a copy. */
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
