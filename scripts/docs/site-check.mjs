/** The links of the site as it was built, twins included: each leads to a file that is there, and to a heading that the file has. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

const LINK = /<(?:a|img|source|link|script)\b[^>]*?\s(?:href|src|srcset)="([^"\s]+)/g;
const ANCHOR = /<[a-z]\w*\b[^>]*?\s(?:id|name)="([^"]+)"/g;
const TWIN_LINK = /\]\((?![a-z]+:|#)([^)\s#]+)/g;

/**
 * @param {string} folder
 * @param {string} base the path below which the site will stand
 * @returns {string[]} what is wrong, as `page: message`
 */
export function checkSite(folder, base) {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const pages = new Map(
    files
      .filter((name) => name.endsWith('.html') && name !== '404.html')
      .map((name) => [name.replaceAll('\\', '/'), readFileSync(join(folder, name), 'utf8')]),
  );
  const anchors = new Map(
    [...pages].map(([name, html]) => [name, new Set([...html.matchAll(ANCHOR)].map(([, id]) => id))]),
  );
  return [...pages].flatMap(([name, html]) => {
    const links = new Set([...html.matchAll(LINK)].map(([, link]) => link.replaceAll('&amp;', '&')));
    const wrong = [...links].filter((link) => !leads(name, link)).map((link) => `${name}: ${link}`);
    const twin = name.replace(/\.html$/, '.md');
    if (!existsSync(join(folder, twin))) return [...wrong, `${name}: there is no ${twin}`];
    const dead = [...readFileSync(join(folder, twin), 'utf8').matchAll(TWIN_LINK)]
      .map(([, link]) => link)
      .filter((link) => /\.(md|png|svg)$/.test(link) && !existsSync(join(folder, posix.dirname(twin), link)));
    return [...wrong, ...dead.map((link) => `${twin}: ${link}`)];
  });

  /**
   * @param {string} from
   * @param {string} link
   */
  function leads(from, link) {
    if (/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(link)) return true;
    const [path, anchor] = link.split('#').map(decodeURIComponent);
    if (path.startsWith('/') && !path.startsWith(base)) return false;
    const asked = path.startsWith('/') ? path.slice(base.length) : posix.join(posix.dirname(from), path);
    const file = path === '' ? from : /(^|\/)$/.test(asked) ? `${asked}index.html` : asked;
    if (!existsSync(join(folder, file))) return false;
    return !anchor || !pages.has(file) || Boolean(anchors.get(file)?.has(anchor));
  }
}
