/** The fenced code blocks of Markdown pages. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../workspace.mjs';

/**
 * @typedef {object} CodeBlock
 * @property {string} page its path from the root, such as `docs/guide.md`
 * @property {number} line of its first line of code, from 1
 * @property {string} language
 * @property {string | undefined} mark a word after the language, such as `ignore`
 * @property {string | undefined} title the file that it is, as in ```` ```ts title="src/main.ts" ````
 * @property {string} code
 */

/** The pages that people read: at the root, below docs/, in the samples, and what GitHub shows. */
export function pages() {
  const atRoot = readdirSync(root).filter((name) => name.endsWith('.md'));
  return [...atRoot, ...below('docs'), ...below('sample'), ...below('.github')].sort();
}

/**
 * @param {string} page
 * @param {string} [text]
 * @returns {CodeBlock[]}
 */
export function codeBlocks(page, text = readFileSync(join(root, page), 'utf8')) {
  /** @type {CodeBlock[]} */
  const blocks = [];
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const fence = /^( *)(`{3,})(\S*)(.*)$/.exec(lines[at]);
    if (!fence) continue;
    const [, indent, ticks, language, rest] = fence;
    const end = lines.findIndex((line, i) => i > at && line.trim() === ticks);
    if (end < 0) throw new Error(`${page}:${at + 1}: this code block does not end`);
    const title = /title="([^"]+)"/.exec(rest)?.[1];
    blocks.push({
      page,
      line: at + 2,
      language,
      title,
      mark: rest.replace(/title="[^"]+"/, '').trim() || undefined,
      code: lines
        .slice(at + 1, end)
        .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line))
        .join('\n'),
    });
    at = end;
  }
  return blocks;
}

/** @param {string} folder */
function below(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/(^|\/)(node_modules|dist|api)\//.test(path));
}
