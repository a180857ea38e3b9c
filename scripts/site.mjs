/**
 * `npm run site`: the documentation as a site, into site/dist. Its generator is installed into site/, and so is no part of `npm ci`.
 * `npm run site -- preview` shows what was built; `npm run site -- dev` shows the pages while they are written.
 *
 * Environment: SITE_BASE, the path below which it will stand, such as `/nestjs-idempotency/`.
 */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf, isCurrent, stamp } from './stamp.mjs';
import { llmsText } from './docs/llms.mjs';
import { checkSite } from './docs/site-check.mjs';
import { writeSitePages } from './docs/site-pages.mjs';
import { siteMap } from './docs/site-map.mjs';
import { root, run } from './workspace.mjs';

const site = join(root, 'site');
const pages = join(site, '.pages');
const output = join(site, 'dist');
const [task = 'build', ...rest] = process.argv.slice(2);

await install();
writeSitePages(pages);
await run(process.execPath, [join(site, 'node_modules/vitepress/bin/vitepress.js'), task, ...rest], { cwd: site });
if (task === 'build') {
  writeTwins();
  const problems = checkSite(output, process.env.SITE_BASE ?? '/');
  for (const problem of problems) console.error(problem);
  console.log(problems.length === 0 ? 'site/dist: all links are sound.' : `${problems.length} dead links.`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

async function install() {
  const packages = join(site, 'node_modules');
  const digest = digestOf(readFileSync(join(site, 'package-lock.json'), 'utf8'), process.platform, process.arch);
  if (isCurrent(packages, digest)) return;
  await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: site });
  stamp(packages, digest);
}

/** Each page beside its HTML, and all of them in one file. */
function writeTwins() {
  cpSync(pages, output, { recursive: true });
  const map = siteMap().flatMap((group) => group.pages);
  const texts = map.map(({ target }) => readFileSync(join(pages, target), 'utf8').trim());
  writeFileSync(
    join(output, 'llms.txt'),
    llmsText(({ target }) => target),
  );
  writeFileSync(join(output, 'llms-full.txt'), `${texts.join('\n\n---\n\n')}\n`);
}
