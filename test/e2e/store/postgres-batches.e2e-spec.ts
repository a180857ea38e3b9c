import { randomBytes } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Claim, Completion } from '../../../lib/engine/ports/record-store.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { releasePostgres, ownPostgresPool } from '../../../lib/store/connectors/postgres-pool.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { until } from '../../support/until.js';
import { aClaim, again, ALL_BYTES, backendOf, StoreFixture, COMPLETION, HELD, HOUR, ownership } from './support.js';

const MAX_CLAIMS = 128;
const MAX_COMPLETIONS = 64;

describe('A batch on PostgreSQL', () => {
  let fixture: StoreFixture;
  let connector: Connector<PgConnection>;
  let store: SqlRecordStore;
  let socket: Socket;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'));
    const { master } = fixture.dataSource.driver as unknown as { master: EventEmitter };
    master.on('connect', (client: { connection: { stream: Socket } }) => (socket = client.connection.stream));
    // One connection, so that everything is on it.
    connector = connectorFor(fixture.dataSource, 1) as Connector<PgConnection>;
    store = fixture.store({ connector, timeoutMs: 25_000 });
  });
  afterAll(() => fixture?.close());

  const claimAll = (claims: readonly Claim[]) => Promise.all(claims.map((claim) => store.claim(claim)));

  /** Bytes of every kind, and the lack of them. */
  const aRequest = (i: number) => [ALL_BYTES, Buffer.alloc(0), null, Buffer.alloc(300, i)][i % 4];
  const someClaims = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      aClaim({
        request: aRequest(i),
        binding: i % 3 === 0 ? null : randomBytes(16),
        scopeDigest: i % 5 === 0 ? null : randomBytes(16),
        route: i % 2 === 0 ? null : `GET /\\x00"{},NULL'${i}`,
        maxAttempts: 1 + (i % 7),
        leaseMs: 30_000 + i,
        holdOnCrash: i % 2 === 0,
      }),
    );

  it.each([1, 2, 3, 9, 33, MAX_CLAIMS])('of %i claims keeps each as it is, and their outcomes', async (count) => {
    const claims = someClaims(count);
    const records = await claimAll(claims);
    for (const [i, claim] of claims.entries()) {
      const { recordId, owner, fingerprint, binding, maxAttempts, leaseMs: leaseLeftMs } = claim;
      const attemptsLeft = maxAttempts - 1;
      expect(records[i]).toMatchObject({ recordId, owner, fingerprint, binding, attemptsLeft, leaseLeftMs, token: 1 });
      const record = (await fixture.record(recordId))!;
      const { endpoint, route, scopeDigest, request, holdOnCrash } = claim;
      expect(record).toMatchObject({ owner, endpoint, route, scopeDigest, fingerprint, binding, request, holdOnCrash });
      expect(record.leaseUntil.getTime() - record.createdAt.getTime()).toBe(claim.leaseMs);
    }

    const completions = records.slice(0, MAX_COMPLETIONS).map((record, i): [typeof record, Completion] => {
      const outcome = { code: 200 + (i % 300), head: aRequest(i + 1), body: aRequest(i) };
      return [record, { outcome, retentionMs: 24 * HOUR, ...(i % 2 === 0 && { fingerprint: randomBytes(32) }) }];
    });
    const answers = await Promise.all(completions.map(([record, c]) => store.complete(ownership(record), c)));
    expect(answers).toEqual(completions.map(() => HELD));
    for (const [{ recordId, fingerprint }, completion] of completions) {
      const kept = completion.fingerprint ?? fingerprint;
      expect(await store.read(recordId)).toMatchObject({ outcome: completion.outcome, fingerprint: kept });
    }
    const replays = await claimAll(
      completions.map(([{ recordId }, { fingerprint }]) => {
        const claim = claims.find((one) => one.recordId === recordId)!;
        return again(claim, { fingerprint: fingerprint ?? claim.fingerprint });
      }),
    );
    expect(replays.map(({ outcome }) => outcome)).toEqual(completions.map(([, { outcome }]) => outcome));
  });

  it('has fresh keys, replays, running, released, expired and lapsed ones side by side', async () => {
    const make = async (after: (record: Awaited<ReturnType<typeof store.claim>>) => Promise<unknown>) => {
      const claim = aClaim({ request: ALL_BYTES });
      await after(await store.claim(claim));
      return again(claim);
    };
    const fresh = aClaim();
    const running = await make(async () => undefined);
    const done = await make((record) => store.complete(ownership(record), COMPLETION));
    const released = await make((record) => store.release(ownership(record), HOUR));
    const lapsed = await make(({ recordId }) => fixture.expireLease(recordId));
    const expired = await make(async (record) => {
      await store.complete(ownership(record), COMPLETION);
      await fixture.expireRecord(record.recordId);
    });
    const held = await make((record) => store.hold(ownership(record)));
    const answers = await claimAll([fresh, running, done, released, lapsed, expired, held]);
    const won = ({ recordId, owner }: Claim, token: number, attempt: number, takenFrom: string | null) => ({
      recordId,
      owner,
      status: 'processing',
      outcome: null,
      token,
      attempt,
      takenFrom,
    });
    expect(answers).toMatchObject([
      won(fresh, 1, 1, null),
      { status: 'processing', token: 1 },
      { status: 'done', outcome: COMPLETION.outcome },
      won(released, 2, 2, 'failed'),
      won(lapsed, 2, 2, 'processing'),
      won(expired, 2, 1, 'done'),
      { status: 'held', token: 1 },
    ]);
    expect(answers[1].owner).not.toBe(running.owner);
    expect(Object.keys(answers[2])).toEqual(Object.keys(answers[0]));
  });

  it('is planned a few times, whatever comes together', async () => {
    for (let count = 1; count <= MAX_CLAIMS; count += 3) {
      const records = await claimAll(Array.from({ length: count }, () => aClaim({ asyncCommit: count % 2 === 0 })));
      await Promise.all(records.map((record) => store.complete(ownership(record), COMPLETION)));
    }
    for (let i = 0; i < 10; i++) await store.complete(ownership(await store.claim(aClaim())), COMPLETION);
    const { rows } = await connector.alone((on) =>
      on.query({ text: 'SELECT name, generic_plans, custom_plans FROM pg_prepared_statements' }),
    );
    const plans = rows.filter(({ name }) => /_(claim|claimAsync|complete)_/.test(name as string));
    expect(plans).toHaveLength(3);
    for (const { generic_plans: generic, custom_plans: custom } of plans) {
      expect(Number(custom)).toBeLessThanOrEqual(5);
      expect(Number(generic)).toBeGreaterThan(0);
    }
  });

  it('has no bytes in hexadecimal digits', async () => {
    const SIZE = 100_000;
    const sent = async (work: () => Promise<unknown>) => {
      const before = socket.bytesWritten;
      await work();
      return socket.bytesWritten - before;
    };
    const body = randomBytes(SIZE);
    await store.claim(aClaim());
    const claims = Array.from({ length: 5 }, () => aClaim({ request: body }));
    const records: Awaited<ReturnType<typeof claimAll>> = [];
    expect(await sent(async () => records.push(...(await claimAll(claims))))).toBeLessThan(1.05 * 5 * SIZE);
    const completion = { ...COMPLETION, outcome: { ...COMPLETION.outcome, body } };
    const complete = () => Promise.all(records.map((record) => store.complete(ownership(record), completion)));
    expect(await sent(complete)).toBeLessThan(1.05 * 5 * SIZE);
    expect((await store.read(records[0].recordId))!.outcome!.body).toEqual(body);
  });
});

it('Two connections of the store to PostgreSQL stay open, with their statements', async () => {
  const fixture = await StoreFixture.open(backendOf('postgres'), { extra: { idleTimeoutMillis: 50 } });
  const pool = ownPostgresPool(fixture.dataSource, 4)!;
  try {
    const clients = await Promise.all([pool.take(), pool.take(), pool.take(), pool.take()]);
    for (const client of clients) releasePostgres(client, undefined);
    await until(() => pool.size < 4);
    await until(() => pool.size === 2);
    const again = await pool.take();
    expect(clients).toContain(again);
    releasePostgres(again, undefined);
  } finally {
    await pool.end();
    await fixture.close();
  }
});
