/**
 * What the npm scripts for the documentation run:
 *
 * - `npm run docs:check`: types and format of the code blocks in all pages, and where their links lead
 * - `npm run docs:api`: the API reference, into docs/api
 */
const API = 'docs/api';

const tasks = {
  check: async () => {
    const { checkCodeBlocks } = await import('./docs/check.mjs');
    const { checkLinks } = await import('./docs/links.mjs');
    const problems = [...checkLinks(), ...(await checkCodeBlocks())];
    for (const problem of problems) console.error(problem);
    console.log(problems.length === 0 ? 'All code blocks and links are sound.' : `${problems.length} problems.`);
    return problems.length === 0;
  },
  api: async () => {
    const { makeApiReference } = await import('./docs/api.mjs');
    return makeApiReference(API);
  },
};

const task = tasks[/** @type {keyof typeof tasks} */ (process.argv[2])];
if (!task) throw new Error(`Name a task: ${Object.keys(tasks).join(', ')}`);
process.exit((await task()) ? 0 : 1);
