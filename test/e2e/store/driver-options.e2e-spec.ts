import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import pg from 'pg';
import type { Claim } from '../../../lib/engine/ports/record-store.js';
import type { TestDialect } from '../../support/database.js';
import {
  aClaim,
  again,
  backendOf,
  StoreFixture,
  COMPLETION,
  HELD,
  LOST,
  OUTCOME,
  ownership,
  SECOND,
} from './support.js';

interface SqliteDatabase {
  defaultSafeIntegers(on: boolean): void;
  pragma(text: string): void;
}

interface Statement {
  all(...values: unknown[]): object[];
}

const Database = createRequire(import.meta.url)('better-sqlite3') as new () => { prepare(sql: string): Statement };

/** Options that applications give their drivers, and that change the values that these return. */
const OPTIONS: readonly (readonly [dialect: TestDialect, label: string, options: object])[] = [
  ['postgres', 'pipeline', { extra: { pipeline: true } }],
  ['postgres', 'parseInt8', { parseInt8: true }],
  ['postgres', 'types', { extra: { types: numbersAsBigInt() } }],
  ['postgres', 'bytes as Uint8Array, and numbers as BigInt', { extra: { types: othersOf() } }],
  ['postgres', 'bytes that are escaped', { extra: { options: '-c bytea_output=escape' } }],
  ['postgres', 'poolSize: 1', { poolSize: 1 }],
  [
    'postgres',
    'a time zone and a search path',
    { extra: { options: '-c TimeZone=Asia/Kathmandu -c search_path=public' } },
  ],
  ['postgres', 'a statement timeout', { extra: { statement_timeout: 5_000, query_timeout: 5_000 } }],
  ['mariadb', 'bigNumberStrings', { supportBigNumbers: true, bigNumberStrings: true }],
  ['mariadb', 'numbers without big ones', { supportBigNumbers: false, bigNumberStrings: false }],
  ['mariadb', 'dateStrings', { dateStrings: true }],
  ['mariadb', 'a time zone', { timezone: '+05:45' }],
  ['mariadb', 'flags', { flags: ['FOUND_ROWS'] }],
  ['mariadb', 'no flags', { flags: ['-FOUND_ROWS'] }],
  ['mariadb', 'multipleStatements', { multipleStatements: true }],
  ['mariadb', 'typeCast', { extra: { typeCast: tinyAsBoolean } }],
  ['mariadb', 'typeCast of all', { extra: { typeCast: castAll } }],
  ['mariadb', 'namedPlaceholders', { extra: { namedPlaceholders: true } }],
  ['mariadb', 'decimalNumbers', { extra: { decimalNumbers: true } }],
  ['mariadb', 'poolSize: 2', { poolSize: 2 }],
  [
    'better-sqlite3',
    'safe integers',
    { prepareDatabase: (database: SqliteDatabase) => database.defaultSafeIntegers(true) },
  ],
  ['better-sqlite3', 'no WAL', { enableWAL: false }],
  ['better-sqlite3', 'a driver that lists bytes as ArrayBuffer', { driver: listingArrayBuffers() }],
  [
    'better-sqlite3',
    'synchronous = FULL',
    { prepareDatabase: (db: SqliteDatabase) => db.pragma('synchronous = FULL') },
  ],
];

/** As libsql, which applications give as `driver`: `all()` does not make a Buffer of bytes, and `get()` does. */
function listingArrayBuffers() {
  const converted = (value: unknown) =>
    Buffer.isBuffer(value) ? value.buffer.slice(value.byteOffset, value.byteOffset + value.length) : value;
  return class extends Database {
    override prepare(sql: string) {
      const statement = super.prepare(sql);
      const all = statement.all.bind(statement);
      const list = (...values: unknown[]) =>
        all(...values).map((row) =>
          Object.fromEntries(Object.entries(row).map(([name, value]) => [name, converted(value)])),
        );
      return Object.assign(statement, { all: list });
    }
  };
}

/** As of an application that keeps numbers of eight bytes as they are, and times as text. */
function numbersAsBigInt() {
  const own: Record<number, (text: string) => unknown> = { 20: BigInt, 1184: String };
  return { getTypeParser: (oid: number, format: 'text') => own[oid] ?? pg.types.getTypeParser(oid, format) };
}

/** As of an application that replaces the parsers of `pg` for its own values. */
function othersOf() {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text.slice(2), 'hex'));
  // As of Luxon and Day.js.
  const instant = (text: string) => ({ valueOf: () => Date.parse(text) });
  const own: Record<number, (text: string) => unknown> = {
    17: bytes,
    20: BigInt,
    21: BigInt,
    701: String,
    1184: instant,
  };
  return { getTypeParser: (oid: number, format: 'text') => own[oid] ?? pg.types.getTypeParser(oid, format) };
}

interface MysqlField {
  readonly type: string;
  readonly length: number;
  string(): string | null;
  buffer(): Buffer | null;
}

/** As the driver's own documentation has it. */
function tinyAsBoolean(field: MysqlField, next: () => unknown): unknown {
  return field.type === 'TINY' && field.length === 1 ? field.string() === '1' : next();
}

/** Works for statements of the text protocol, which TypeORM uses. */
function castAll(field: MysqlField, next: () => unknown): unknown {
  switch (field.type) {
    case 'TINY':
      return field.string() === '1';
    case 'LONG':
    case 'LONGLONG':
      return Number(field.string());
    default:
      return next();
  }
}

describe.each(OPTIONS)('%s with %s', (dialect, _label, options) => {
  let fixture: StoreFixture;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect), options);
  });
  afterAll(() => fixture?.close());

  it('a record lives its life', async () => {
    const store = fixture.store();
    const claim: Claim = aClaim({ binding: randomBytes(16), request: Buffer.from('{"amount":1}') });
    const [won, another] = await Promise.all([store.claim(claim), store.claim(aClaim())]);
    expect(won).toMatchObject({ owner: claim.owner, status: 'processing', token: 1, attempt: 1, takenFrom: null });
    expect(another.recordId).not.toBe(claim.recordId);
    expect([won.fingerprint, won.binding]).toEqual([claim.fingerprint, claim.binding]);
    expect(won.leaseLeftMs).toBeGreaterThan(20 * SECOND);
    expect(await store.claim(again(claim))).toMatchObject({ owner: claim.owner, status: 'processing' });
    expect(await store.renew(ownership(won), 60 * SECOND)).toEqual(HELD);
    expect((await store.markAwaited(claim.recordId))?.leaseLeftMs).toBeGreaterThan(50 * SECOND);

    await fixture.expireLease(claim.recordId);
    const heir = await store.claim(again(claim));
    expect(heir).toMatchObject({ status: 'processing', token: 2, attempt: 2, takenFrom: 'processing' });
    expect(await store.complete(ownership(won), COMPLETION)).toEqual(LOST);
    const transactional = await store.transaction((within) => within.complete(ownership(heir), COMPLETION));
    expect(transactional).toEqual(HELD);
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', token: 2, outcome: OUTCOME });
    expect(await store.read(claim.recordId)).toMatchObject({ status: 'done', token: 2, outcome: OUTCOME });
    // As users read it, through the entity.
    expect(await fixture.record(claim.recordId)).toMatchObject({
      status: 'done',
      token: 2,
      attempt: 2,
      awaited: false,
      holdOnCrash: false,
      fingerprint: claim.fingerprint,
      responseCode: 201,
      responseBody: OUTCOME.body,
      createdAt: expect.any(Date),
      completedAt: expect.any(Date),
      expiresAt: expect.any(Date),
    });

    expect(await store.complete(ownership(another), COMPLETION)).toEqual(HELD);
    await fixture.expireRecord(claim.recordId);
    const fresh = await store.claim(again(claim));
    expect(fresh).toMatchObject({ status: 'processing', token: 3, attempt: 1, takenFrom: 'done' });
    expect(await store.release(ownership(fresh), 86_400_000)).toEqual(HELD);
    await fixture.expireRecord(claim.recordId);
    expect(await store.sweep(10)).toBe(1);
  });

  it('steps are kept', async () => {
    const store = fixture.store();
    const owned = ownership(await store.claim(aClaim()));
    expect(await store.steps.begin(owned, 'charge')).toEqual(HELD);
    expect(await store.steps.end(owned, 'charge', { status: 'done', result: '{"id":7}' })).toEqual(HELD);
    expect(await store.steps.load(owned.recordId)).toEqual([{ name: 'charge', status: 'done', result: '{"id":7}' }]);
    expect(await store.forget(owned.recordId)).toBe(true);
    expect(await store.steps.load(owned.recordId)).toEqual([]);
  });
});
