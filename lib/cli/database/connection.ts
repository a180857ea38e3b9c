import { DataSource, type QueryRunner } from 'typeorm';
import { IdempotencyEngine } from '../../engine/engine.js';
import { settleWithin } from '../../engine/settle-within.js';
import type { Duration } from '../../options/duration.js';
import { resolveModuleOptions } from '../../options/resolve-options.js';
import { EventStream } from '../../service/event-stream.js';
import { IdempotencyService } from '../../service/idempotency.service.js';
import { connectorFor } from '../../store/connectors/index.js';
import { withDeadline } from '../../store/deadline.js';
import { AesGcmSealer, type EncryptionOptions, noSealer } from '../../store/sealer.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import { CliError, ExitCode } from '../exit-codes.js';
import { type DatabaseSettings, dataSourceOptions, driverOf } from './data-source-options.js';

/** @throws CliError if the database cannot be reached, or its driver is not installed */
export async function connect(settings: DatabaseSettings): Promise<DataSource> {
  const dataSource = newDataSource(settings);
  try {
    return await dataSource.initialize();
  } catch (error) {
    const [reason] = messageOf(error).split('\n');
    // A package manager that asks before it runs install scripts leaves the native part of the driver out. Another Node cannot load it.
    if (
      reason.startsWith('Could not locate the bindings file') ||
      (error as { code?: string }).code === 'ERR_DLOPEN_FAILED'
    ) {
      const next = 'npm rebuild better-sqlite3';
      throw new CliError(
        ExitCode.unreachable,
        'The driver for this database is not built for this version of Node',
        next,
      );
    }
    throw new CliError(ExitCode.unreachable, `The database cannot be reached: ${reason}`);
  }
}

/** Makes a data source without connecting it. @throws CliError if its driver is not installed */
export function newDataSource(settings: DatabaseSettings): DataSource {
  const driver = driverOf(settings.url);
  try {
    return new DataSource(dataSourceOptions(settings));
  } catch (error) {
    if ((error as Error).name !== 'DriverPackageNotInstalledError') throw error;
    const next = `npm install ${driver.package}`;
    throw new CliError(ExitCode.unreachable, 'The driver for this database is not installed', next);
  }
}

/**
 * Limits each further statement of TypeORM on a data source. A locked table answers nothing, and drivers wait for it without an end; the
 * store's own statements have a limit.
 */
export function limitStatements(dataSource: DataSource, ms: number): DataSource {
  if (Object.hasOwn(dataSource, 'createQueryRunner')) return dataSource;
  const create = dataSource.createQueryRunner.bind(dataSource);
  dataSource.createQueryRunner = (mode) => {
    const runner = create(mode);
    // SQLite has one runner for all.
    if (Object.hasOwn(runner, 'query')) return runner;
    const query = runner.query.bind(runner) as QueryRunner['query'];
    const limited = (...given: Parameters<QueryRunner['query']>) => withDeadline(query(...given), ms);
    runner.query = limited as QueryRunner['query'];
    return runner;
  };
  return dataSource;
}

/** How long closing waits for a statement that has no answer yet, in milliseconds. */
const CLOSE_WITHIN_MS = 1_000;

/** Closes a data source, even if a statement never ends. */
export async function disconnect(dataSource: DataSource): Promise<void> {
  await settleWithin(dataSource.destroy(), CLOSE_WITHIN_MS).catch(() => undefined);
}

export interface ServiceSettings {
  readonly timeout: Duration;
  /** Seals outcomes, and digests scopes. */
  readonly encryption?: EncryptionOptions;
  /** The application's option: scopes are digested with it. */
  readonly namespace?: string;
  /** Records deleted in one statement. */
  readonly batch?: number;
}

/** Makes the service of the application on a data source of this program. It does not sweep, listen, or check tables. */
export function serviceOn(dataSource: DataSource, settings: ServiceSettings): IdempotencyService {
  const options = resolveModuleOptions({
    storeTimeout: settings.timeout,
    encryption: settings.encryption,
    namespace: settings.namespace,
    ...(settings.batch !== undefined && { sweep: { batch: settings.batch } }),
  });
  const store = new SqlRecordStore(dataSource, connectorFor(dataSource), {
    timeoutMs: options.storeTimeoutMs,
    sealer: settings.encryption ? new AesGcmSealer(settings.encryption) : noSealer,
  });
  const events = new EventStream();
  const engine = new IdempotencyEngine({ store, events, onLockUnavailable: 'degrade' });
  const policy = () => ({ header: options.header, key: { minLength: 1, maxLength: 255, pattern: '' }, operations: [] });
  return new IdempotencyService({ engine, store, dataSource, options, events, policy });
}

/** Returns the message of an error. Of an address with several failed attempts (`localhost`), drivers leave it empty. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  if (!(error instanceof Error)) return String(error);
  if (error.message === '') return (error as { code?: string }).code ?? error.name;
  return error.message;
}
