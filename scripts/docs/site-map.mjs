/** Which pages there are, in which order they are read, and what each is about. The site's sidebar and llms.txt are made from it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';

/**
 * @typedef {object} Page
 * @property {string} source its path from the root, such as `docs/guide.md`
 * @property {string} target its path in the site, such as `guide.md`
 * @property {string} title its first heading
 * @property {string} about one line; empty where the title says it all
 */

/**
 * @typedef {object} Group
 * @property {string} title
 * @property {boolean} isOptional whether one can do without it
 * @property {Page[]} pages
 */

/** Names of docs/ in their order. A page that is not listed stands under `More`, with its first sentence. */
const LISTED = {
  Start: [
    ['guide', 'from nothing to a safe payment endpoint, in a quarter of an hour'],
    ['reference', 'every option, its default and its meaning; every problem; supported versions'],
    ['recipes', 'payment providers, webhooks, consumers, outbox, uploads, cron, tenants, long operations'],
    ['glossary', 'what lease, claim, fencing token, scope and the other words mean'],
  ],
  'In your application': [
    ['replays', 'which headers, cookies and hooks a replay has; rate limits, pages with a nonce, streams'],
    ['beyond-http', 'message handlers, GraphQL mutations, jobs and cron'],
    ['client', 'how to retry, and a fetch wrapper that does'],
    ['testing', 'faults to inject: a crash before the record, a lost response, a lost lease, a database that is gone'],
  ],
  'Beside other packages': [
    ['prisma', 'what works beside Prisma, what `transactional` does not cover, and a recipe'],
    ['drizzle', 'what works beside Drizzle, what `transactional` does not cover, and a recipe'],
    ['mikro-orm', 'what works beside MikroORM, what `transactional` does not cover, and a recipe'],
    ['workflows', 'a workflow that starts in the transaction of the request that asks for it'],
  ],
  'In production': [
    ['operations', 'what records cost, where they live, and what to do when something rings'],
    ['observability', 'metrics, spans, health and events'],
    ['dashboard', 'a page for operators: held records, timelines, resolve, release, forget'],
    ['cli', 'the command line: held records, what a customer was told, what waits to be deleted'],
    ['troubleshooting', 'every problem code, boot error and log line: what it means, what to do'],
  ],
  'Why to trust it': [
    ['guarantees', 'every promise, how it is kept, what it costs, which test shows it, what is not promised'],
    ['security', 'threats, answers, what is stored'],
    ['performance', 'what a request costs, measured'],
    ['comparison', 'what other libraries and workflow engines do, and when to take one of them'],
    ['migration', 'how to switch from another library without running an operation twice'],
  ],
};

/** @returns {Group[]} every page of the site, once */
export function siteMap() {
  const listed = Object.entries(LISTED).map(([title, pages]) => ({
    title,
    isOptional: false,
    pages: pages
      .filter(([name]) => existsSync(join(root, 'docs', `${name}.md`)))
      .map(([name, about]) => docs(name, about)),
  }));
  const known = new Set(listed.flatMap(({ pages }) => pages.map(({ source }) => source)));
  const more = markdownIn('docs').filter((name) => !known.has(`docs/${name}`));
  const samples = readdirSync(join(root, 'sample')).filter((name) =>
    existsSync(join(root, 'sample', name, 'README.md')),
  );
  const groups = [
    ...listed,
    { title: 'More', isOptional: false, pages: more.map((name) => docs(name.replace(/\.md$/, ''))) },
    { title: 'Samples', isOptional: false, pages: samples.map(sample) },
    {
      title: 'Project',
      isOptional: true,
      pages: [
        describe({ source: 'CHANGELOG.md', target: 'changelog.md' }, 'what changed in each version'),
        describe({ source: 'CONTRIBUTING.md', target: 'contributing.md' }, "how to build, test and find one's way"),
      ],
    },
    {
      title: 'Decisions',
      isOptional: true,
      pages: markdownIn('docs/decisions').map((name) =>
        describe({ source: `docs/decisions/${name}`, target: `decisions/${name}` }, ''),
      ),
    },
  ];
  groups[0].pages.unshift(
    describe({ source: 'README.md', target: 'index.md' }, 'what it is, when it is safe, a quick start'),
  );
  return groups.filter(({ pages }) => pages.length > 0);
}

/**
 * @param {string} name
 * @param {string} [about]
 */
function docs(name, about) {
  return describe({ source: `docs/${name}.md`, target: `${name}.md` }, about);
}

/** @param {string} name */
function sample(name) {
  const { description } = JSON.parse(readFileSync(join(root, 'sample', name, 'package.json'), 'utf8'));
  return describe({ source: `sample/${name}/README.md`, target: `samples/${name}.md` }, description);
}

/**
 * @param {{ source: string, target: string }} place
 * @param {string} [about]
 * @returns {Page}
 */
function describe({ source, target }, about) {
  const text = readFileSync(join(root, source), 'utf8');
  const title = /^# (.+)$/m.exec(text)?.[1].replaceAll('`', '');
  if (!title) throw new Error(`${source} has no heading`);
  return { source, target, title, about: about ?? firstSentenceOf(text) };
}

/** @param {string} text */
function firstSentenceOf(text) {
  const [, ...blocks] = text.split(/\n{2,}/);
  const paragraph = blocks.find((block) => /^[\w`*[]/.test(block) && !block.startsWith('Status:')) ?? '';
  const sentence = /^.*?[.:](?=\s|$)/s.exec(paragraph)?.[0] ?? paragraph;
  return sentence
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/[.:]$/, '');
}

/** @param {string} folder */
function markdownIn(folder) {
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .sort();
}
