import { storedLabel, storedText } from '../../../lib/engine/stored-text.js';

test('a text that a database would refuse or change is escaped, and stays different from others', () => {
  const texts = [
    'a',
    'a\0',
    'a\\u{0}',
    'a ',
    'a',
    'a\ud83d',
    'a\ud83e',
    'a\udcb8',
    'a\ufffd',
    'a💸',
    'ä',
    'a '.repeat(2),
  ];
  const stored = texts.map(storedText);
  expect(new Set(stored).size).toBe(new Set(texts).size);
  for (const text of stored) expect(text).not.toMatch(/\0|\p{Surrogate}| $/u);
  expect(storedText('POST /orders/:id — 💸')).toBe('POST /orders/:id — 💸');
});

test('a label is as long as its column, and never ends in half a character', () => {
  expect(storedLabel('x'.repeat(300))).toBe('x'.repeat(255));
  expect(storedLabel(`${'x'.repeat(254)}💸`)).toBe('x'.repeat(254));
  expect(storedLabel(`${'x'.repeat(253)}💸`)).toBe(`${'x'.repeat(253)}💸`);
});
