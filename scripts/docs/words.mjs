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
]);

const PATTERN = new RegExp(`\\b(?:${[...WORDS.keys()].join('|').replaceAll(' ', '\\s+(?:\\*\\s+)?')})\\b`, 'gi');

/**
 * Looks for {@link WORDS} in all pages, and in the comments of lib.
 *
 * @returns {string[]} what is wrong, as `file:line: message`
 */
export function checkWords() {
  const sources = readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[jt]s$/.test(name))
    .map((name) => ({ file: `lib/${name}`, read: commentsOf }));
  const texts = pages().map((file) => ({ file, read: (/** @type {string} */ text) => text }));
  return [...texts, ...sources].flatMap(({ file, read }) =>
    findWords(file, read(readFileSync(join(root, file), 'utf8'))),
  );
}

/**
 * @param {string} file
 * @param {string} text
 */
export function findWords(file, text) {
  return [...text.matchAll(PATTERN)].map(({ 0: found, index }) => {
    const word = found.toLowerCase().replaceAll(/[\s*]+/g, ' ');
    return `${file}:${text.slice(0, index).split('\n').length}: "${word}": write ${WORDS.get(word)}`;
  });
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
