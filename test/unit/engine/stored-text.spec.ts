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

test('a text of a client commands no terminal, and forges no line of a log', () => {
  for (const character of ['\n', '\r', '\t', '\x1b', '\x7f', '\x9b', '\u2028', '\u2029', '\u202e', '\u2066']) {
    const code = character.charCodeAt(0).toString(16);
    expect(storedText(`a${character}b`)).toBe(`a\\u{${code}}b`);
  }
});

test('a label is as long as its column, and never ends in half a character', () => {
  expect(storedLabel('x'.repeat(300))).toBe('x'.repeat(255));
  expect(storedLabel(`${'x'.repeat(254)}💸`)).toBe('x'.repeat(254));
  expect(storedLabel(`${'x'.repeat(253)}💸`)).toBe(`${'x'.repeat(253)}💸`);
});
