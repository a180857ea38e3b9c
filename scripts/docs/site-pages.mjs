/** The Markdown that the site is made from: the repository's pages, with links that lead from one to another within the site. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { root } from '../workspace.mjs';
import { repositoryUrl } from './repository.mjs';
import { rewriteLinks } from './rewrite-links.mjs';
import { siteMap } from './site-map.mjs';

const PICTURE = /\.(png|svg)$/;
const DECISIONS = 'decisions/index.md';

/**
 * @param {string} folder
 */
export function writeSitePages(folder) {
  rmSync(folder, { recursive: true, force: true });
  const groups = siteMap();
  const targets = new Map(groups.flatMap(({ pages }) => pages.map(({ source, target }) => [source, target])));
  targets.set('docs/decisions', DECISIONS);
  for (const [source, target] of targets) {
    if (target === DECISIONS) continue;
    const text = rewriteLinks(readFileSync(join(root, source), 'utf8'), (link) => resolve(source, target, link));
    write(target, text);
  }
  const decisions = groups.find(({ title }) => title === 'Decisions')?.pages ?? [];
  const list = decisions.map(({ title, target }) => `- [${title}](${posix.basename(target)})`);
  write(DECISIONS, `# Decisions\n\nWhere the design left a choice.\n\n${list.join('\n')}\n`);

  /**
   * @param {string} source of the page with the link
   * @param {string} target
   * @param {string} link
   */
  function resolve(source, target, link) {
    const [path, anchor] = link.split('#');
    const file = posix.join(posix.dirname(source), path).replace(/\/$/, '');
    const page = targets.get(file) ?? targets.get(`${file}/README.md`);
    const from = posix.dirname(target);
    if (page) return relative(from, page) + (anchor === undefined ? '' : `#${anchor}`);
    if (PICTURE.test(file)) {
      copy(file);
      return relative(from, file);
    }
    const repository = repositoryUrl();
    const kind = statSync(join(root, file)).isDirectory() ? 'tree' : 'blob';
    return repository && `${repository}/${kind}/main/${file}${anchor === undefined ? '' : `#${anchor}`}`;
  }

  /** @param {string} file */
  function copy(file) {
    const to = join(folder, file);
    if (existsSync(to)) return;
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(join(root, file), to);
  }

  /**
   * @param {string} target
   * @param {string} text
   */
  function write(target, text) {
    const to = join(folder, target);
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, text);
  }
}

/**
 * @param {string} from
 * @param {string} to
 */
function relative(from, to) {
  const path = posix.relative(from, to);
  return path.startsWith('.') ? path : `./${path}`;
}
