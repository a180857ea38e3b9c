import { checkWords, findWords, proseOf } from '../../../scripts/docs/words.mjs';

test('pages, comments and titles of tests are in plain words', () => {
  expect(checkWords()).toEqual([]);
});

test('the check finds words across lines, and says what to write', () => {
  const text = [
    'A retry is',
    'told so, and Nobody hears',
    ' * it in place',
    ' * of a value.',
    'It foretells nothing.',
  ].join('\n');
  expect(findWords('page.md', text)).toEqual([
    'page.md:1: "is told": write gets, receives or sees',
    'page.md:2: "nobody": write no request, handler, process or operator',
    'page.md:3: "in place of": write instead of',
  ]);
});

test('only comments and titles of tests count in a source', () => {
  const source = [
    "const NOBODY = 'nobody'; // the owner",
    '/** One line. */',
    'const told = whoever;',
    '/**',
    ' * Two',
    ' */',
    "const url = 'https://dear.example';",
    "it('is new', () => check(url));",
  ];
  expect(
    proseOf(source.join('\n'))
      .split('\n')
      .map((line) => line.trim()),
  ).toEqual(['// the owner', '/** One line. */', '', '/**', '* Two', '*/', '', "it('is new', () => check(url));"]);
});
