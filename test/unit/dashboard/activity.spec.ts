import { jest } from '@jest/globals';
import { ActivityMemory } from '../../../lib/dashboard/activity.js';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const NOW = Date.parse('2026-11-30T12:00:05Z');

afterEach(() => jest.restoreAllMocks());

function claimAt(memory: ActivityMemory, ms: number): void {
  jest.spyOn(Date, 'now').mockReturnValue(ms);
  memory.record({ type: 'completed', recordId: 'r', endpoint: 'POST /pay', attempt: 1, token: 1, takeMs: 1 });
}

const counted = (memory: ActivityMemory) =>
  memory
    .activity()
    .buckets.filter(({ completions }) => completions > 0)
    .map(({ at, completions }) => `${at} ${completions}`);

// A machine that boots with a wrong clock: all that it did for a day was of one bucket, which the page drew as its last minute.
it('counts at the present time once the clock was set back', () => {
  const memory = new ActivityMemory();
  claimAt(memory, NOW + 24 * HOUR);
  claimAt(memory, NOW);
  claimAt(memory, NOW + 10 * SECOND);
  expect(counted(memory)).toEqual(['2026-11-30T12:00:00.000Z 1', '2026-11-30T12:00:10.000Z 1']);
  expect(memory.counts().completions).toBe(3);
});

it('keeps what it counted while the clock is slewed', () => {
  const memory = new ActivityMemory();
  claimAt(memory, NOW);
  claimAt(memory, NOW - 6 * SECOND);
  expect(counted(memory)).toEqual(['2026-11-30T12:00:00.000Z 2']);
});

it('keeps an hour, however far the clock was set forward', () => {
  const memory = new ActivityMemory();
  claimAt(memory, NOW);
  claimAt(memory, NOW + 10_000 * HOUR);
  expect(memory.activity().buckets).toHaveLength(360);
  expect(counted(memory)).toHaveLength(1);
});
