import { DataSource } from 'typeorm';
import { IdempotencyEngine } from '../../engine/engine.js';
import { settleWithin } from '../../lock/settle-within.js';
import type { Duration } from '../../options/duration.js';
import { resolveModuleOptions } from '../../options/resolve-options.js';
import { EventStream } from '../../service/event-stream.js';
import { IdempotencyService } from '../../service/idempotency.service.js';
import { connectorFor } from '../../store/connectors/index.js';
import { AesGcmSealer, type EncryptionOptions, noSealer } from '../../store/sealer.js';
import { SqlRecordStore } from '../../store/sql-record-store.js';
import { CliError, ExitCode } from '../exit-codes.js';
import { type DatabaseSettings, dataSourceOptions, driverOf } from './data-source-options.js';

/** @throws CliError where the database cannot be reached, or its driver is not installed */
export async function connect(settings: DatabaseSettings): Promise<DataSource> {
  const dataSource = newDataSource(settings);
  try {
    return await dataSource.initialize();
  } catch (error) {
    throw new CliError(ExitCode.unreachable, `The database cannot be reached: ${messageOf(error)}`);
  }
}

/** A data source that is not connected yet. @throws CliError where its driver is not installed */
export function newDataSource(settings: DatabaseSettings): DataSource {
  const driver = driverOf(settings.url);
  try {
    return new DataSource(dataSourceOptions(settings));
  } catch (error) {
    if ((error as Error).name !== 'DriverPackageNotInstalledError') throw error;
    throw new CliError(
      ExitCode.unreachable,
      `The driver for this database is not installed: npm install ${driver.package}`,
    );
  }
}

/** How long closing waits for a statement that has no answer yet, in milliseconds. */
const CLOSE_WITHIN_MS = 1_000;

/** Closes a data source. A statement that never ends does not keep it open. */
export async function disconnect(dataSource: DataSource): Promise<void> {
  await settleWithin(dataSource.destroy(), CLOSE_WITHIN_MS).catch(() => undefined);
}

export interface ServiceSettings {
  readonly timeout: Duration;
  /** What outcomes are sealed with, and the digests of scopes made. */
  readonly encryption?: EncryptionOptions;
  /** Within which scopes are looked for. */
  readonly namespace?: string;
  /** Records deleted in one statement. */
  readonly batch?: number;
}

/** The application's service, on a data source of our own. It runs nothing, and waits for no request. */
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

/** What an error says; drivers leave the message of several failed attempts empty. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  if (!(error instanceof Error)) return String(error);
  if (error.message === '') return (error as { code?: string }).code ?? error.name;
  return error.message;
}
