import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Type } from '@nestjs/common';
import { codeBlocks } from '../../../../scripts/docs/code-blocks.mjs';
import { root } from '../../../../scripts/workspace.mjs';

/** What the files of a page export, all together. */
export type PageModule = Record<string, Type<never>>;

const BUILT = join(root, 'test/.built/docs');

/** Imports the files that a page shows, as they stand there but for where the library is. */
export async function filesOf(page: string): Promise<PageModule> {
  await mkdir(BUILT, { recursive: true });
  const modules = codeBlocks(page).map(async ({ title, code }) => {
    if (!title) return {};
    const path = join(BUILT, basename(title));
    await writeFile(path, code.replaceAll("'nestjs-idempotency'", "'../../../lib/index.js'"));
    return (await import(path)) as PageModule;
  });
  return Object.assign({}, ...(await Promise.all(modules))) as PageModule;
}
