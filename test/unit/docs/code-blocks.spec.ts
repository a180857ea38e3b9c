import { checkCodeBlocks } from '../../../scripts/docs/check.mjs';
import { codeBlocks, pages } from '../../../scripts/docs/code-blocks.mjs';

/** TypeScript's own work, on a busy machine. */
const LIMIT = 120_000;

test(
  'the code blocks of all pages compile against the package, and are formatted',
  async () => {
    expect(pages()).toEqual(expect.arrayContaining(['README.md', 'docs/guarantees.md', 'sample/checkout/README.md']));
    expect(await checkCodeBlocks()).toEqual([]);
  },
  LIMIT,
);

test(
  'the check finds what is wrong, and says where',
  async () => {
    const page = [
      '# A page', // line 1
      '```ts',
      "import { Idempotent } from 'nestjs-idempotency';",
      "Idempotent({ lease: 'soon' });", // line 4
      '```',
      '```ts members',
      'pay(amount: number) {', // line 7
      '  return amount.toUpperCase();',
      '}',
      '```',
      '```ts ignore',
      'what is not checked',
      '```',
      '```ts title="src/a.ts"',
      'export const a = 1;', // line 15
      '```',
      '```ts title="src/b.ts"',
      "import { a } from './a.js';", // line 18
      'export const b: string = a;',
      '```',
      '```ts',
      'const x = "double"', // line 22
      '```',
    ].join('\n');
    const problems = await checkCodeBlocks(codeBlocks('docs/made-up.md', page));
    expect(problems).toEqual([
      expect.stringMatching(/^docs\/made-up\.md:4: Type '"soon"' is not assignable to type .*TS2322/s),
      expect.stringMatching(/^docs\/made-up\.md:8: Property 'toUpperCase' does not exist on type 'number'.*TS2339/),
      expect.stringMatching(/^docs\/made-up\.md:19: Type 'number' is not assignable to type 'string'.*TS2322/),
      'docs/made-up.md:22: not as prettier formats it',
    ]);
  },
  LIMIT,
);

test(
  'a file that is shown again takes the place of the earlier one',
  async () => {
    const page = [
      '```ts title="src/a.ts"',
      'export const a = 1;',
      '```',
      '```ts title="src/b.ts"',
      "import { a } from './a.js';",
      '',
      'export const b: number = a;',
      '```',
      '```ts title="src/a.ts"',
      "export const a = 'text';", // b.ts no longer fits
      '```',
    ].join('\n');
    const problems = await checkCodeBlocks(codeBlocks('docs/made-up.md', page));
    expect(problems).toEqual([expect.stringContaining('docs/made-up.md:7: ')]);
  },
  LIMIT,
);
