import { retryAfter } from '../../../lib/client/retry-after.js';

const NOW = Date.UTC(2026, 10, 6, 8, 49, 0);
const asked = (headers: Record<string, string>) => retryAfter(new Headers(headers), NOW);

describe('Retry-After', () => {
  test.each([
    ['0', 0],
    ['1', 1_000],
    [' 120 ', 120_000],
    ['Fri, 06 Nov 2026 08:49:37 GMT', 37_000],
    ['Friday, 06-Nov-26 08:49:37 GMT', 37_000],
    ['Fri Nov  6 08:49:37 2026', 37_000],
    ['Fri, 06 Nov 2026 08:48:37 GMT', 0],
  ])('%s', (value, ms) => {
    expect(asked({ 'retry-after': value })).toBe(ms);
  });

  test.each(['', 'soon', '-1', '1.5', '1e3', '0x10', '2026-11-06', '2026-11-06T08:49:37Z', '5 GMT seconds'])(
    'not in a form that can be read: "%s"',
    (value) => {
      expect(asked({ 'retry-after': value })).toBeUndefined();
    },
  );

  test('absent', () => expect(asked({})).toBeUndefined());

  test("a date is taken by the server's clock, where the response has it", () => {
    const date = 'Fri, 06 Nov 2026 11:00:00 GMT';
    expect(asked({ date, 'retry-after': 'Fri, 06 Nov 2026 11:00:05 GMT' })).toBe(5_000);
    expect(asked({ date: 'unreadable', 'retry-after': 'Fri, 06 Nov 2026 08:49:05 GMT' })).toBe(5_000);
    expect(asked({ date, 'retry-after': '7' })).toBe(7_000);
  });
});
