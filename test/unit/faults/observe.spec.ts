import type { FaultPoint, FaultScene, Ownership } from '../../../lib/testing/index.js';
import { Observer } from '../../faults/app/observe.js';
import type { Entry } from '../../faults/history/entry.js';
import { now } from '../../faults/history/log.js';

const ownership = { recordId: 'r', owner: 'o', token: 1, binding: null } as Ownership;

describe('what an application of the lab writes down', () => {
  const said: Entry[] = [];
  const observer = new Observer({ say: (entry: Entry) => said.push(entry) } as never);
  const at = (point: FaultPoint, answer?: { held: boolean }) => {
    const site = { point, recordId: 'r', ownership, ...(answer && { answer }) };
    void observer.atEveryPoint({ site } as FaultScene);
  };

  // A process that was paused behind a renewal sends the next one before it reads the answer of the first.
  test('an answer to one of two renewals counts for the earlier one', async () => {
    at('before renew');
    const between = now();
    while (now() === between);
    at('before renew');
    at('after renew', { held: true });
    at('after renew', { held: false });
    expect(said).toEqual([{ kind: 'renewed', record: 'r', token: 1, sentAt: expect.any(Number) }]);
    expect((said[0] as { sentAt: number }).sentAt).toBeLessThanOrEqual(between);
  });
});
