import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';
import { pages } from './code-blocks.mjs';

/** A sentence with more words is read twice by people whose first language is another one. */
const MAX_WORDS = 30;

const CODE = /^( *)(`{3,}).*\n[\s\S]*?^\1\2 *$/gm;
const INDENTED_CODE = /(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+/g;
const COMMENT = /<!--[\s\S]*?-->/g;
/** `test/promises` makes these lines from its table. */
const SHOWN_BY = /^- Shown by: .*\n(?: {2}.*\n)*/gm;

const LIST_ITEM = /^\s*(?:[-*]|\d+\.)\s/;
const NO_PROSE = /^\s*(?:[|#<]|$)/;
const SENTENCE_END = /(?<=[.!?][)"*_`]*)\s+/;

/** @returns {string[]} the sentences of all pages that are too long, as `file:line: message` */
export function checkSentences() {
  return pages().flatMap((page) => findLongSentences(page, readFileSync(join(root, page), 'utf8')));
}

/**
 * @param {string} page
 * @param {string} text
 */
export function findLongSentences(page, text) {
  return paragraphs(text).flatMap((paragraph) =>
    paragraph.text.split(SENTENCE_END).flatMap((sentence) => {
      const count = countWords(sentence);
      if (count <= MAX_WORDS) return [];
      const begin = sentence.split(' ').slice(0, 6).join(' ');
      return [`${page}:${paragraph.line}: a sentence of ${count} words, at most ${MAX_WORDS}: "${begin} ..."`];
    }),
  );
}

/**
 * Prose outside of code and tables. Each item of a list is a paragraph.
 *
 * @param {string} page
 */
function paragraphs(page) {
  /** @type {{ line: number, text: string }[]} */
  const found = [];
  let isOpen = false;
  const lines = [CODE, COMMENT, INDENTED_CODE, SHOWN_BY].reduce(withoutText, page).split('\n');
  for (const [index, line] of lines.entries()) {
    if (NO_PROSE.test(line)) {
      isOpen = false;
    } else if (isOpen && !LIST_ITEM.test(line)) {
      found[found.length - 1].text += ` ${line.trim()}`;
    } else {
      found.push({ line: index + 1, text: line.trim() });
      isOpen = true;
    }
  }
  return found;
}

/**
 * Removes what the pattern finds, and keeps the lines that the rest is on.
 *
 * @param {string} text
 * @param {RegExp} pattern
 */
function withoutText(text, pattern) {
  return text.replace(pattern, (found) => '\n'.repeat(found.split('\n').length - 1));
}

/**
 * Code counts as one word, and the target of a link as none.
 *
 * @param {string} sentence
 */
function countWords(sentence) {
  const words = sentence
    .replace(/`[^`]*`/g, 'code')
    .replace(/\]\([^)]*\)/g, ']')
    .split(/\s+/);
  return words.filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}
