import { CommitUnknownError } from '../../../lib/engine/errors.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { waitsForLock } from '../../support/lock-waits.js';
import { until } from '../../support/until.js';
import { backendOf, Bench } from '../store/support.js';
import { anOperation, OUTCOME, Process, STORE } from './support.js';

/**
 * A read does not see what a transaction has written until that commits: an execution that read would take its record for one in
 * processing, and its transaction for one that was rolled back.
 */
describe.each(['postgres', 'mariadb'] as const)(
  'A COMMIT without an answer that is still under way, on %s',
  (dialect) => {
    let bench: Bench;
    beforeAll(async () => void (bench = await Bench.open(backendOf(dialect))));
    afterAll(() => bench?.close());

    it('is waited for, and the outcome is stored', async () => {
      const store = bench.store();
      let committed: Promise<unknown> | undefined;
      const cut = Object.create(store, {
        transaction: {
          value: (work: Parameters<SqlRecordStore['transaction']>[0]) =>
            new Promise((_, reject) => {
              committed = store.transaction(async (transaction) => {
                const answer = await work({ ...transaction, completeLast: undefined });
                reject(new CommitUnknownError());
                await until(() => waitsForLock(bench.dataSource));
                return answer;
              });
            }),
        },
      }) as SqlRecordStore;
      const here = new Process(bench, { store: cut });
      const operation = anOperation({ transactional: true });

      expect(await here.run(operation, STORE)).toEqual({ kind: 'stored' });
      await committed;
      expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
      expect(await store.read(operation.recordId)).toMatchObject({ status: 'done', outcome: OUTCOME });
    });
  },
);
