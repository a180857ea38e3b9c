import { CommitUnknownError } from '../../../lib/engine/errors.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { waitsForLock } from '../../support/lock-waits.js';
import { until } from '../../support/until.js';
import { backendOf, StoreFixture } from '../store/support.js';
import { anOperation, OUTCOME, Process, STORE } from './support.js';

/**
 * A read does not see what a transaction has written until that commits: an execution that read would take its record for one in
 * processing, and its transaction for one that was rolled back.
 */
describe.each(['postgres', 'mariadb'] as const)(
  'A COMMIT without an answer that is still under way, on %s',
  (dialect) => {
    let fixture: StoreFixture;
    beforeAll(async () => void (fixture = await StoreFixture.open(backendOf(dialect))));
    afterAll(() => fixture?.close());

    it('is waited for, and the outcome is stored', async () => {
      const store = fixture.store();
      let committed: Promise<unknown> | undefined;
      const cut = Object.create(store, {
        transaction: {
          value: (work: Parameters<SqlRecordStore['transaction']>[0]) =>
            new Promise((_, reject) => {
              committed = store.transaction(async (transaction) => {
                const answer = await work({ ...transaction, completeLast: undefined });
                reject(new CommitUnknownError());
                await until(() => waitsForLock(fixture.dataSource));
                return answer;
              });
            }),
        },
      }) as SqlRecordStore;
      const here = new Process(fixture, { store: cut });
      const operation = anOperation({ transactional: true });

      expect(await here.run(operation, STORE)).toEqual({ kind: 'stored' });
      await committed;
      expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
      expect(await store.read(operation.recordId)).toMatchObject({ status: 'done', outcome: OUTCOME });
    });
  },
);
