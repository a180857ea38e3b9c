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
  const folder = join(BUILT, basename(page, '.md'));
  await mkdir(folder, { recursive: true });
  const shown = codeBlocks(page).filter(({ title }) => title);
  const paths = shown.map(({ title }) => join(folder, basename(title!)));
  const texts = shown.map(({ code }) => code.replaceAll("'nestjs-idempotency'", "'../../../../lib/index.js'"));
  // All of them are there before the first is imported: they import each other.
  await Promise.all(paths.map((path, i) => writeFile(path, texts[i])));
  const modules = paths.map((path) => import(path) as Promise<PageModule>);
  return Object.assign({}, ...(await Promise.all(modules))) as PageModule;
}
