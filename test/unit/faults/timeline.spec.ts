import { timelineOf } from '../../faults/report/timeline.js';
import type { Entry } from '../../faults/history/entry.js';
import { Random } from '../../faults/lab/random.js';

test('a timeline draws who did what to the violating operation, and the faults meanwhile', () => {
  const entries: Entry[] = [
    { at: 0, who: 'lab', kind: 'operation', op: 'one', workload: 'plain', key: 'k', principal: 'alice', record: 'r' },
    { at: 5, who: 'app1', kind: 'began', op: 'one', token: 1, attempt: 1 },
    { at: 6, who: 'lab', kind: 'fault', fault: 'pause', on: 'app1', number: 1 },
    { at: 9, who: 'lab', kind: 'fault over', number: 1 },
    { at: 10, who: 'app2', kind: 'effect', op: 'one', token: 2, attempt: 2 },
    { at: 11, who: 'app2', kind: 'effect', op: 'other', token: 2, attempt: 2 },
  ];
  const html = timelineOf(entries, [{ guarantee: 'one winner', detail: '<2> effects', op: 'one' }]);
  expect(html).toContain('<b>one winner</b>: &#60;2&#62; effects');
  expect(html).toContain('pause: app1');
  expect(html.match(/<circle/g)).toHaveLength(3);
  expect(html).not.toContain('NaN');
});

test('the same seed makes the same choices', () => {
  const choices = (seed: string) => {
    const random = new Random(seed);
    return Array.from({ length: 20 }, () => random.between(0, 1_000));
  };
  expect(choices('a')).toEqual(choices('a'));
  expect(choices('a')).not.toEqual(choices('b'));
});
