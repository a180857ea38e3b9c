import { setImmediate as turn } from 'node:timers/promises';
import type { RecordState } from '../../../lib/engine/ports/record-store.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, backendOf, COMPLETION, HELD, ownership, SECOND, StoreFixture } from './support.js';

const TIMEOUT_MS = 200;

/** Synchronous work of a handler, such as a PDF or a password, or a platform that freezes the process. */
function stall(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * TIMEOUT_MS);
}

describe.each(['postgres', 'mariadb'] as const)('While the process stands still, on %s', (dialect) => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;
  let claimed: RecordState;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    // Opens the connections, however long that takes.
    const connections = fixture.store({ timeoutMs: 5 * SECOND });
    await Promise.all([connections.claim(aClaim()), connections.claim(aClaim())]);
    store = fixture.store({ timeoutMs: TIMEOUT_MS, connector: connections['connector'] });
  });
  beforeEach(async () => void (claimed = await store.claim(aClaim())));
  afterAll(() => fixture?.close());

  const STATEMENTS: [name: string, ask: () => Promise<unknown>, answer: unknown][] = [
    ['claim', async () => (await store.claim(aClaim())).token, 1],
    ['read', () => store.read(aClaim().recordId), undefined],
    ['completion', () => store.complete(ownership(claimed), COMPLETION), HELD],
    ['renewal', () => store.renew(ownership(claimed), 30 * SECOND), HELD],
  ];

  it.each(STATEMENTS)('the answer to a %s that was sent before counts', async (_, ask, answer) => {
    const asked = ask();
    // Sent at the end of this turn, on an open connection.
    await turn();
    await turn();
    stall();
    expect(await asked).toEqual(answer);
  });

  it.each(STATEMENTS)('a %s that was about to be sent is sent afterwards', async (_, ask, answer) => {
    const asked = ask();
    stall();
    expect(await asked).toEqual(answer);
  });
});
