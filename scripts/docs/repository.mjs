/** Where the repository is found on the web: `repository` in package.json is the one place that says so. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';

/** @returns {{ name: string, version: string, description: string, repository?: string | { url: string } }} */
export function manifest() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

/** @returns {string | undefined} `https://github.com/owner/name`, once it is known */
export function repositoryUrl({ repository } = manifest()) {
  const url = typeof repository === 'string' ? repository : repository?.url;
  return url
    ?.replace(/^github:/, 'https://github.com/')
    .replace(/^git\+/, '')
    .replace(/\.git$/, '');
}
