import { checkSentences, findLongSentences } from '../../../scripts/docs/sentences.mjs';

const LONG = `${'word '.repeat(30)}end.`;
const SHORT = `${'word '.repeat(29)}end.`;

test('no page has a sentence of more than 30 words', () => {
  expect(checkSentences()).toEqual([]);
});

test('the check finds them in paragraphs and lists, and says where', () => {
  const text = [
    `# ${LONG}`, // line 1
    '',
    `${SHORT} ${SHORT}`,
    '',
    SHORT.slice(0, -1), // line 5
    'without an end.',
    '',
    `- ${SHORT}`,
    `- ${LONG}`, // line 9
    `  - ${SHORT}`,
    '',
    `(${SHORT}) **${SHORT}** ${SHORT}`,
  ].join('\n');
  expect(findLongSentences('page.md', text)).toEqual([
    'page.md:5: a sentence of 33 words, at most 30: "word word word word word word ..."',
    'page.md:9: a sentence of 31 words, at most 30: "- word word word word word ..."',
  ]);
});

test('tables, code, the targets of links and generated lines do not count', () => {
  const text = [
    `| ${LONG} |`,
    '',
    '```text',
    LONG,
    '```',
    '',
    `    ${LONG}`,
    '',
    `    ${LONG}`,
    '',
    `- Shown by: ${LONG}`,
    `  ${LONG}`,
    '',
    `<!-- ${LONG} -->`,
    '',
    `${'word '.repeat(28)}\`${LONG}\` [link](of many words that are no prose).`,
  ].join('\n');
  expect(findLongSentences('page.md', text)).toEqual([]);
});
