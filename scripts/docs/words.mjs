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
  ['somebody', 'the request, handler, process, operator or person'],
  ['came of it', 'whether it happened, the outcome'],
  ['for want of', 'because it is missing'],
  ['at the most', 'at most'],
]);

/** Dependencies, and what tools have written. */
const NOT_OURS = /node_modules|\/generated\/|\/\.built\//;

const PATTERN = new RegExp(`\\b(?:${[...WORDS.keys()].join('|').replaceAll(' ', '\\s+(?:\\*\\s+)?')})\\b`, 'gi');

/**
 * Looks for {@link WORDS} in all pages, in the comments of lib, scripts and test, and in the titles of tests.
 *
 * @returns {string[]} what is wrong, as `file:line: message`
 */
export function checkWords() {
  const sources = ['lib', 'scripts', 'test']
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => `${folder}/${name}`),
    )
    .filter((file) => /\.m?[jt]s$/.test(file) && !NOT_OURS.test(file));
  const textOf = (/** @type {string} */ file) => readFileSync(join(root, file), 'utf8');
  return [
    ...pages().flatMap((file) => findWords(file, textOf(file))),
    ...sources.flatMap((file) => findWords(file, proseOf(textOf(file)))),
  ];
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
 * Keeps the comments of a source and the lines that begin a test, each at its line.
 *
 * @param {string} source
 */
export function proseOf(source) {
  const comments = commentsOf(source).split('\n');
  const lines = source.split('\n');
  return lines.map((line, i) => (/^\s*(?:describe|it|test)\b/.test(line) ? line : comments[i])).join('\n');
}

/**
 * Keeps the comments of a source, each at its line.
 *
 * @param {string} source
 */
function commentsOf(source) {
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
