import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';
import { pages } from './code-blocks.mjs';

/** Words that hide who does what, or are not the field's, and what to write instead. */
const WORDS = new Map([
  ['dear', 'expensive'],
  ['anew', 'again'],
  ['whoever', 'the request, handler, process or operator'],
  ['nobody', 'no request, handler, process or operator'],
  ['tells', 'logs, returns, throws, emits, reports or says'],
  ['is told', 'gets, receives or sees'],
  ['are told', 'get, receive or see'],
  ['told apart', 'distinguished'],
  ['in place of', 'instead of'],
  ['what stands', 'the existing record'],
  ['load-bearing', 'needed for correctness'],
  ['in the dark', 'automatically'],
]);

/** The same, which comments of lib still have. */
const WORDS_OF_PAGES = new Map([
  ...WORDS,
  ['somebody', 'the request, handler, process, operator or person'],
  ['came of it', 'whether it happened, the outcome'],
  ['for want of', 'because it is missing'],
  ['at the most', 'at most'],
]);

const PATTERN = patternOf(WORDS);
const PATTERN_OF_PAGES = patternOf(WORDS_OF_PAGES);

/**
 * Looks for {@link WORDS} in all pages, and in the comments of lib.
 *
 * @returns {string[]} what is wrong, as `file:line: message`
 */
export function checkWords() {
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[jt]s$/.test(name))
    .map((name) => `lib/${name}`);
  const textOf = (/** @type {string} */ file) => readFileSync(join(root, file), 'utf8');
  return [
    ...pages().flatMap((file) => findWords(file, textOf(file), PATTERN_OF_PAGES)),
    ...sources.flatMap((file) => findWords(file, commentsOf(textOf(file)))),
  ];
}

/**
 * @param {string} file
 * @param {string} text
 * @param {RegExp} [pattern]
 */
export function findWords(file, text, pattern = PATTERN) {
  return [...text.matchAll(pattern)].map(({ 0: found, index }) => {
    const word = found.toLowerCase().replaceAll(/[\s*]+/g, ' ');
    return `${file}:${text.slice(0, index).split('\n').length}: "${word}": write ${WORDS_OF_PAGES.get(word)}`;
  });
}

/** @param {ReadonlyMap<string, string>} words */
function patternOf(words) {
  return new RegExp(`\\b(?:${[...words.keys()].join('|').replaceAll(' ', '\\s+(?:\\*\\s+)?')})\\b`, 'gi');
}

/**
 * Keeps the comments of a source, each at its line.
 *
 * @param {string} source
 */
export function commentsOf(source) {
  let isWithin = false;
  return source
    .split('\n')
    .map((line) => {
      const opened = /\/\*.*/.exec(line);
      const comment = isWithin ? line : (opened?.[0] ?? /(?:^|\s)\/\/.*/.exec(line)?.[0] ?? '');
      if (opened) isWithin = true;
      if (line.includes('*/')) isWithin = false;
      return comment;
    })
    .join('\n');
}
