import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { codeBlocks } from '../../../scripts/docs/code-blocks.mjs';
import { root } from '../../../scripts/workspace.mjs';

/** These pages use packages that are installed only where `test/e2e/orms` runs the files that they show. */
const PAGES = ['docs/drizzle.md', 'docs/prisma.md', 'docs/mikro-orm.md'];

test.each(PAGES)('%s shows the files of test/orms as they are', (page) => {
  const application = basename(page, '.md');
  const files = codeBlocks(page).filter(({ title }) => title);
  expect(files.map(({ title }) => title)).toEqual(
    expect.arrayContaining(['operation-pool.ts', `${application}/app.module.ts`]),
  );
  for (const { title = '', code, line } of files) {
    const path = join(root, 'test/orms', title);
    const source = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    expect({ page, line, title, code: `${code}\n` }).toEqual({ page, line, title, code: source });
  }
});

test.each(PAGES)('%s says first what a transactional operation does not cover', (page) => {
  const [, first] = readFileSync(join(root, page), 'utf8').split('\n\n');
  expect(first).toMatch(/`transactional: true`.* not /s);
  expect(first).toMatch(/crash/);
});
