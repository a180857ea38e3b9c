/**
 * What the npm scripts for the documentation run:
 *
 * - `npm run docs:check`: types and format of the code blocks in all pages, where their links lead, whether llms.txt is current,
 *   sentences that are too long, and words that are hard to read, in pages, comments and titles of tests
 * - `npm run docs:llms`: writes llms.txt from the pages
 * - `npm run docs:api`: the API reference, into docs/api
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './workspace.mjs';

const API = 'docs/api';

const tasks = {
  check: async () => {
    const { checkCodeBlocks } = await import('./docs/check.mjs');
    const { checkLinks } = await import('./docs/links.mjs');
    const { checkLlmsText } = await import('./docs/llms.mjs');
    const { checkSentences } = await import('./docs/sentences.mjs');
    const { checkWords } = await import('./docs/words.mjs');
    const problems = [
      ...checkLinks(),
      ...checkLlmsText(),
      ...checkWords(),
      ...checkSentences(),
      ...(await checkCodeBlocks()),
    ];
    for (const problem of problems) console.error(problem);
    console.log(
      problems.length === 0 ? 'All code blocks, links, words and sentences are sound.' : `${problems.length} problems.`,
    );
    return problems.length === 0;
  },
  llms: async () => {
    const { packedLlmsText } = await import('./docs/llms.mjs');
    writeFileSync(join(root, 'llms.txt'), packedLlmsText());
    return true;
  },
  api: async () => {
    const { makeApiReference } = await import('./docs/api.mjs');
    return makeApiReference(API);
  },
};

const task = tasks[/** @type {keyof typeof tasks} */ (process.argv[2])];
if (!task) throw new Error(`Name a task: ${Object.keys(tasks).join(', ')}`);
process.exit((await task()) ? 0 : 1);
