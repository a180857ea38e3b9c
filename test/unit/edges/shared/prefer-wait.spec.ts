import { withPreference } from '../../../../lib/edges/shared/prefer-wait.js';
import type { Policy } from '../../../../lib/engine/policy.js';

const policy = { waitTimeoutMs: 10_000, onConflict: 'wait' } as Policy;

it.each([
  ['wait=5', 5_000],
  ['wait=0', 0],
  ['Wait=5', 5_000],
  ['wait=2.5', 2_500],
  ['respond-async, wait=5', 5_000],
  // Never for longer than the operation allows.
  ['wait=60', 10_000],
])('%s', (prefer, waitTimeoutMs) => {
  expect(withPreference(policy, prefer)).toEqual({ ...policy, waitTimeoutMs });
});

it.each([undefined, '', 'wait', 'wait=-1', 'wait="5"', 'wait=soon', 'wait=5;;', 'respond-async'])(
  '%p says nothing',
  (prefer) => {
    expect(withPreference(policy, prefer)).toBe(policy);
  },
);

it('may come in several lines', () => {
  expect(withPreference(policy, ['respond-async', 'wait=5']).waitTimeoutMs).toBe(5_000);
});
