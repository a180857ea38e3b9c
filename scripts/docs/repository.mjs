/** Where the repository is found on the web: `repository` in package.json is the one place that says so. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../workspace.mjs';

/**
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} version
 * @property {string} description
 * @property {string | { url: string }} [repository]
 * @property {Record<string, string | { types: string, default: string }>} exports
 */

/** @returns {Manifest} */
export function manifest() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

/**
 * @param {Pick<Manifest, 'repository'>} [of]
 * @returns {string | undefined} `https://github.com/owner/name`, once it is known
 */
export function repositoryUrl({ repository } = manifest()) {
  const url = typeof repository === 'string' ? repository : repository?.url;
  return url
    ?.replace(/^github:/, 'https://github.com/')
    .replace(/^git\+/, '')
    .replace(/\.git$/, '');
}
