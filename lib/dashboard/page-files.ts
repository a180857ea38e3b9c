import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import folder from './folder.cjs';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export const PAGE = 'index.html';

export interface PageFile {
  readonly type: string;
  readonly content: Buffer;
}

/** Reads the files of the page, once: a name in a request never becomes a path. */
export function readPageFiles(): Map<string, PageFile> {
  const page = join(folder, 'page');
  const files = new Map<string, PageFile>();
  for (const name of readdirSync(page)) {
    const type = TYPES[extname(name)];
    if (type !== undefined) files.set(name, { type, content: readFileSync(join(page, name)) });
  }
  return files;
}
