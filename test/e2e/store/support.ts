import { randomBytes, randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import type { StoredOutcome } from '../../../lib/engine/outcome.js';
import type { Claim, Completion, Ownership, RecordState } from '../../../lib/engine/ports/record-store.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { IDEMPOTENCY_ENTITIES, IdempotencyRecord, IdempotencyStep } from '../../../lib/store/entities/index.js';
import { noSealer } from '../../../lib/store/sealer.js';
import { SqlRecordStore, type SqlRecordStoreSettings } from '../../../lib/store/sql-record-store.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';

export interface Backend {
  readonly name: string;
  readonly dialect: TestDialect;
}

export const BACKENDS: readonly Backend[] = [
  { name: 'PostgreSQL', dialect: 'postgres' },
  { name: 'MariaDB', dialect: 'mariadb' },
  { name: 'SQLite', dialect: 'better-sqlite3' },
];

export function backendOf(dialect: TestDialect): Backend {
  return BACKENDS.find((backend) => backend.dialect === dialect)!;
}

export const SECOND = 1_000;
export const HOUR = 3_600_000;

/** A database with our tables, and stores on it. */
export class StoreFixture {
  private readonly dataSources: DataSource[] = [];
  private readonly stores: SqlRecordStore[] = [];

  private constructor(
    readonly backend: Backend,
    private readonly database: TestDatabase,
  ) {}

  static async open(backend: Backend, options: object = {}): Promise<StoreFixture> {
    const fixture = new StoreFixture(backend, await createDatabase(backend.dialect));
    try {
      await fixture.connect({ synchronize: true, ...options });
    } catch (error) {
      await fixture.close();
      throw error;
    }
    return fixture;
  }

  /** A data source with a pool of its own, on the same database. */
  async connect(options: object = {}): Promise<DataSource> {
    const dataSource = new DataSource({
      ...this.database.options,
      entities: [...IDEMPOTENCY_ENTITIES],
      ...options,
    });
    this.dataSources.push(dataSource);
    return dataSource.initialize();
  }

  get options(): TestDatabase['options'] {
    return this.database.options;
  }

  get port(): number {
    return (this.database.options as { port: number }).port;
  }

  get dataSource(): DataSource {
    return this.dataSources[0];
  }

  store(settings: Partial<SqlRecordStoreSettings> & { dataSource?: DataSource; connector?: Connector } = {}) {
    const {
      dataSource = this.dataSource,
      connector = connectorFor(dataSource, 4),
      timeoutMs = 5_000,
      ...rest
    } = settings;
    const store = new SqlRecordStore(dataSource, connector, {
      timeoutMs,
      sealer: noSealer,
      ...rest,
    });
    this.stores.push(store);
    return store;
  }

  /** Moves an instant of a record into the past, instead of waiting. */
  async age(recordId: string, column: 'lease_until' | 'expires_at' | 'created_at', ms: number): Promise<void> {
    const aged = this.backend.dialect === 'postgres' ? `${column} - interval '${ms} ms'` : `${column} - ${ms}`;
    await this.dataSource.query(`UPDATE idempotency_record SET ${column} = ${aged} WHERE id = '${recordId}'`);
  }

  async expireLease(recordId: string): Promise<void> {
    await this.age(recordId, 'lease_until', HOUR);
    if (this.backend.dialect !== 'postgres') return;
    await this.dataSource.query(
      `UPDATE idempotency_step SET updated_at = now() - interval '1 hour' WHERE record_id = '${recordId}' AND name = ''`,
    );
  }

  expireRecord(recordId: string): Promise<void> {
    return this.age(recordId, 'expires_at', 48 * HOUR);
  }

  /** What is in the table, read as users do. */
  record(recordId: string, dataSource = this.dataSource): Promise<IdempotencyRecord | null> {
    return dataSource.getRepository(IdempotencyRecord).findOneBy({ id: recordId });
  }

  steps(recordId: string): Promise<IdempotencyStep[]> {
    return this.dataSource.getRepository(IdempotencyStep).findBy({ recordId });
  }

  async close(): Promise<void> {
    await Promise.all(this.stores.map((store) => store.close()));
    for (const dataSource of this.dataSources) {
      // Closing says so where a test has cut a connection.
      if (dataSource.isInitialized) await dataSource.destroy().catch(() => undefined);
    }
    await this.database.drop();
  }
}

/** Opens a database and a store for the tests of a `describe`. */
export function openStore(backend: Backend): { readonly fixture: StoreFixture; readonly store: SqlRecordStore } {
  let fixture: StoreFixture;
  let store: SqlRecordStore;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    store = fixture.store();
  });
  afterAll(() => fixture?.close());
  return {
    get fixture() {
      return fixture;
    },
    get store() {
      return store;
    },
  };
}

export function aClaim(terms: Partial<Claim> = {}): Claim {
  return {
    recordId: randomUUID(),
    owner: randomUUID(),
    endpoint: 'POST /payments',
    route: null,
    scopeDigest: null,
    fingerprint: randomBytes(32),
    binding: null,
    request: null,
    leaseMs: 30 * SECOND,
    retentionMs: 24 * HOUR,
    maxAttempts: 5,
    holdOnCrash: false,
    asyncCommit: false,
    ...terms,
  };
}

/** The same request by another execution. */
export function again(claim: Claim, terms: Partial<Claim> = {}): Claim {
  return { ...claim, owner: randomUUID(), ...terms };
}

/** Every byte there is, so that none of them is lost on the way. */
export const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

export const OUTCOME: StoredOutcome = { code: 201, head: Buffer.from('{"headers":[]}'), body: ALL_BYTES };

export const COMPLETION: Completion = { outcome: OUTCOME, retentionMs: 24 * HOUR };

export const HELD = { held: true, awaited: false };
export const LOST = { held: false, awaited: false };

export function ownership({ recordId, owner, token }: RecordState): Ownership {
  return { recordId, owner, token };
}
