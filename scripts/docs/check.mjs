import { join } from 'node:path';
import * as prettier from 'prettier';
import { root } from '../workspace.mjs';
import { codeBlocks, pages } from './code-blocks.mjs';
import { typeCheck } from './type-check.mjs';

/** @typedef {import('./code-blocks.mjs').CodeBlock} CodeBlock */

/**
 * Types and format of all `ts` blocks.
 *
 * @param {CodeBlock[]} [blocks]
 * @returns {Promise<string[]>} what is wrong, as `page:line: message`
 */
export async function checkCodeBlocks(blocks = pages().flatMap((page) => codeBlocks(page))) {
  return [...typeCheck(blocks), ...(await formatCheck(blocks))];
}

/** @param {CodeBlock[]} blocks */
async function formatCheck(blocks) {
  const config = (await prettier.resolveConfig(join(root, 'docs/page.ts'))) ?? {};
  const checks = blocks
    .filter(({ language, mark }) => language === 'ts' && mark === undefined)
    .map(async ({ page, line, code }) => {
      try {
        return (await prettier.check(`${code}\n`, { ...config, parser: 'typescript' }))
          ? []
          : [`${page}:${line}: not as prettier formats it`];
      } catch (error) {
        return [`${page}:${line}: ${/** @type {Error} */ (error).message.split('\n')[0]}`];
      }
    });
  return (await Promise.all(checks)).flat();
}
