/**
 * Which spec files a change can touch, for `npm test -- --changed`: those that import what changed, which jest finds, and those
 * that depend on it in another way, as this file knows: they start processes, or read files.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './workspace.mjs';

/** Spec files start processes of the built library by these: all that import one of them. */
const APPLICATIONS = 'test/support/app-process.ts';
const FIELD = 'test/field/field-process.ts';
const CLI = 'test/e2e/cli/support.ts';
const PAGES = ['test/unit/docs', 'test/e2e/docs'];

const ALL = ['test'];

/**
 * The first pattern that a path fits counts: the files and folders that depend on the path beside what imports it, or ALL.
 *
 * @type {Array<[RegExp, string[]]>}
 */
const DEPENDENTS = [
  [/^lib\/client\//, [...PAGES, 'test/unit/client', 'test/e2e/client']],
  [/^lib\/cli\//, [...PAGES, CLI]],
  [
    /^lib\/dashboard\/page\//,
    ['test/unit/dashboard', 'test/e2e/dashboard', 'test/e2e/dashboard-page', 'test/unit/scripts'],
  ],
  [/^lib\//, [...PAGES, APPLICATIONS, FIELD, CLI, 'test/unit/scripts']],
  [/^schematics\//, [CLI]],
  [/^test\/apps\//, [APPLICATIONS]],
  [/^test\/field\//, [FIELD]],
  [/^test\/orms\//, ['test/e2e/orms', 'test/unit/docs']],
  [/^test\/clients\//, ['test/e2e/docs']],
  [/^test\/support\/.*\.mjs$/, ALL],
  [/^test\/(docs\/|.*\.md$)/, PAGES],
  [/^test\//, []],
  [/^(docs\/|site\/|llms\.txt$|[^/]*\.md$)/, PAGES],
  [/^sample\//, ['test/unit/docs', 'test/unit/scripts']],
  [/^scripts\//, ['test/unit/docs', 'test/unit/scripts']],
  [/^(bench|etc|\.ci|\.github)\/|^(LICENSE|\.editorconfig|\.gitignore|\.oxlintrc\.json|\.prettier\w+)$/, []],
];

/**
 * @param {string[]} changed paths
 * @returns {string[] | undefined} arguments for jest; none where everything has to run
 */
export function specsTouchedBy(changed) {
  const dependents = new Set(changed.flatMap((path) => DEPENDENTS.find(([pattern]) => pattern.test(path))?.[1] ?? ALL));
  if (dependents.has(ALL[0])) return undefined;
  const files = [...dependents].flatMap((path) => (path.endsWith('.ts') ? [path] : specsIn(path)));
  const sources = changed.filter((path) => /^(lib|test)\/.*\.(ts|mjs)$/.test(path));
  return ['--passWithNoTests', '--findRelatedTests', ...new Set([...files, ...sources])];
}

/**
 * What differs from where the branch left the main one, whether committed or not.
 *
 * @param {string} [base] a commit or branch, `main` or `origin/main` by default
 */
export function changedFiles(base) {
  const from =
    base ?? ['main', 'origin/main'].find((name) => git('rev-parse', '--verify', '--quiet', name) !== undefined);
  const fork = from && git('merge-base', 'HEAD', from);
  if (!fork) {
    throw new Error(
      `--changed: there is no commit of ${from ?? 'main or origin/main'} to compare with; name one: --changed=<commit>`,
    );
  }
  const differing = [git('diff', '--name-only', fork[0]), git('ls-files', '--others', '--exclude-standard')];
  return { fork: fork[0].slice(0, 10), files: differing.flatMap((paths) => paths ?? []) };
}

/** @param {string[]} args @returns {string[] | undefined} the lines of its output, if it succeeded */
function git(...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  return status === 0 ? stdout.split('\n').filter(Boolean) : undefined;
}

/** @param {string} folder */
function specsIn(folder) {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('spec.ts'))
    .map((name) => `${folder}/${name}`);
}
