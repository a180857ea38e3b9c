import type { DataSource } from 'typeorm';
import { resolveModuleOptions, resolveOperationOptions } from '../../options/resolve-options.js';
import type { SqlRecordStore } from '../../store/sql-record-store.js';

/** The database that is examined, and what the application does with it. */
export interface Subject {
  readonly dataSource: DataSource;
  readonly store: SqlRecordStore;
  /** How long one statement may take, in milliseconds. */
  readonly timeoutMs: number;
  /** In how many processes the application runs. */
  readonly processes: number;
  readonly application: ApplicationSettings;
}

export interface ApplicationSettings {
  /** Whether these are the application's own; otherwise they are the defaults. */
  readonly isKnown: boolean;
  readonly storeConnections: number;
  readonly usesRedis: boolean;
  /** The largest response that an operation stores, in bytes. */
  readonly responseMaxBytes: number;
  /** Whether it creates missing tables when it starts: by `synchronize`, or by running migrations. */
  readonly changesSchema: boolean;
  /** Whether its processes sweep. */
  readonly sweeps: boolean;
}

const { storeConnections, sweep } = resolveModuleOptions({});

/** The library's defaults, for an application that was not loaded. */
export const DEFAULT_SETTINGS: ApplicationSettings = {
  isKnown: false,
  storeConnections,
  usesRedis: false,
  responseMaxBytes: resolveOperationOptions({}).response.maxBytes,
  changesSchema: false,
  sweeps: sweep !== undefined,
};
