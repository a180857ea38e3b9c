/** `npm run docs:check`: checks the types and the format of the code blocks in README.md, docs/ and the samples. */
import { checkCodeBlocks } from './docs/check.mjs';

const problems = await checkCodeBlocks();
for (const problem of problems) console.error(problem);
console.log(problems.length === 0 ? 'All code blocks are sound.' : `${problems.length} problems in code blocks.`);
process.exit(problems.length === 0 ? 0 : 1);
