/** llms.txt (https://llmstxt.org): what the pages are, for programs that read them. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';
import { manifest } from './repository.mjs';
import { siteMap } from './site-map.mjs';

/** @typedef {import('./site-map.mjs').Page} Page */

/** The format's name for what a reader in a hurry leaves out. */
const OPTIONAL = 'Optional';

/**
 * @param {(page: Page) => string} hrefOf
 * @param {(page: Page) => boolean} [isThere]
 */
export function llmsText(hrefOf, isThere = () => true) {
  const { name, description } = manifest();
  /** @type {Map<string, string[]>} */
  const sections = new Map();
  for (const { title, isOptional, pages } of siteMap()) {
    const heading = isOptional ? OPTIONAL : title;
    const lines = pages.filter(isThere).map((page) => {
      return `- [${page.title}](${hrefOf(page)})${page.about ? `: ${page.about}` : ''}`;
    });
    if (lines.length > 0) sections.set(heading, [...(sections.get(heading) ?? []), ...lines]);
  }
  const texts = [...sections].map(([heading, lines]) => `## ${heading}\n\n${lines.join('\n')}\n`);
  return `# ${name}\n\n> ${description}\n\n${texts.join('\n')}`;
}

/** The file at the root. It is published with the package, so it lists what is published too. */
export function packedLlmsText() {
  return llmsText(
    ({ source }) => source,
    ({ source }) => /^(docs\/|[A-Z]+\.md$)/.test(source) && source !== 'CONTRIBUTING.md',
  );
}

/** @returns {string[]} what is wrong */
export function checkLlmsText() {
  const path = join(root, 'llms.txt');
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return text === packedLlmsText() ? [] : ['llms.txt does not list the pages as they are: npm run docs:llms'];
}
