/** The links of Markdown pages to files and headings of this repository. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import GithubSlugger from 'github-slugger';
import MarkdownIt from 'markdown-it';
import { root } from '../workspace.mjs';
import { pages } from './code-blocks.mjs';

/** @typedef {import('markdown-it').Token} Token */

/**
 * @typedef {object} Page
 * @property {string} path from the root
 * @property {string} text
 */

const markdown = new MarkdownIt({ html: true });

/** Of the elements that pages have: a picture's sources are files too. */
const HTML_LINK = /<(?:a|img|source)\b[^>]*?\s(?:href|src|srcset)="([^"\s]+)/g;
const HTML_ANCHOR = /<\w+\b[^>]*?\s(?:id|name)="([^"]+)"/g;

/** `https:`, `mailto:` and the like. */
const ELSEWHERE = /^([a-z][a-z0-9+.-]*:|\/\/)/i;

/**
 * Looks for relative links that lead nowhere: to a file or a folder that is not there, or to a heading that its page does
 * not have. Anchors are those that GitHub gives to headings.
 *
 * @param {Page[]} [checked]
 * @returns {string[]} what is wrong, as `page:line: message`
 */
export function checkLinks(checked = pages().map((path) => ({ path, text: read(path) }))) {
  /** @type {Map<string, Set<string>>} */
  const anchors = new Map(checked.map(({ path, text }) => [path, anchorsOf(text)]));
  /** @param {string} path */
  const anchorsIn = (path) => {
    let known = anchors.get(path);
    if (!known) anchors.set(path, (known = anchorsOf(read(path))));
    return known;
  };

  return checked.flatMap(({ path, text }) =>
    linksOf(text).flatMap(({ line, target }) => {
      if (ELSEWHERE.test(target)) return [];
      const [file, anchor] = target.split('#').map(decodeURIComponent);
      const to = file === '' ? path : posix.join(posix.dirname(path), file);
      const at = `${path}:${line}: ${target}`;
      if (to.startsWith('../')) return [`${at} leaves the repository`];
      if (!anchors.has(to) && !existsSync(join(root, to))) return [`${at} does not exist`];
      if (anchor === undefined) return [];
      if (!to.endsWith('.md') || (!anchors.has(to) && !statSync(join(root, to)).isFile())) {
        return [`${at} is no page with headings`];
      }
      return anchorsIn(to).has(anchor) ? [] : [`${at}: there is no such heading`];
    }),
  );
}

/** @param {string} path */
function read(path) {
  return readFileSync(join(root, path), 'utf8');
}

/**
 * @param {string} text
 * @returns {{ line: number, target: string }[]} lines of the paragraph, the table's row or the element, from 1
 */
function linksOf(text) {
  return tokensOf(text).flatMap(({ token, line }) => {
    if (token.type === 'html_inline' || token.type === 'html_block') {
      return [...token.content.matchAll(HTML_LINK)].map(([, target]) => ({ line, target }));
    }
    const target = token.attrGet('href') ?? token.attrGet('src');
    return target === null ? [] : [{ line, target }];
  });
}

/** @param {string} text */
function anchorsOf(text) {
  const slugger = new GithubSlugger();
  /** @type {Set<string>} */
  const anchors = new Set();
  markdown.parse(text, {}).forEach((token, i, all) => {
    if (token.type === 'inline' && all[i - 1]?.type === 'heading_open') anchors.add(slugger.slug(textOf(token)));
  });
  for (const { token } of tokensOf(text)) {
    if (!token.type.startsWith('html_')) continue;
    for (const [, name] of token.content.matchAll(HTML_ANCHOR)) anchors.add(name);
  }
  return anchors;
}

/** @param {Token} inline */
function textOf({ children }) {
  return (children ?? []).map(({ type, content }) => (/^(text|code_inline)$/.test(type) ? content : '')).join('');
}

/**
 * All tokens, those within a line included, and the line where each begins, or what it is part of.
 *
 * @param {string} text
 */
function tokensOf(text) {
  let line = 1;
  return markdown.parse(text, {}).flatMap((token) => {
    if (token.map) line = token.map[0] + 1;
    return [token, ...(token.children ?? [])].map((one) => ({ token: one, line }));
  });
}
