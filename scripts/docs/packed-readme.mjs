/** The README as it is published. */
import { statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { root } from '../workspace.mjs';
import { repositoryUrl } from './repository.mjs';
import { rewriteLinks } from './rewrite-links.mjs';

const PICTURE = /\.(png|svg)$/;
/** Pictures for light and dark. */
const PICTURES = /<picture>[\s\S]*?<\/picture>\n*/g;
/** As `files` in package.json says. */
const PUBLISHED = /^(docs\/.*\.md|CHANGELOG\.md|LICENSE|README\.md)$/;

/**
 * @param {string} text
 * @param {Pick<import('./repository.mjs').Manifest, 'name' | 'version' | 'repository'>} manifest
 */
export function packedReadme(text, manifest) {
  const repository = repositoryUrl(manifest);
  const { name, version } = manifest;
  if (!repository) {
    const withoutPictures = text.replaceAll(PICTURES, '');
    return rewriteLinks(withoutPictures, (target) => {
      const path = posix.normalize(target);
      return PUBLISHED.test(path.split('#')[0]) ? `https://unpkg.com/${name}@${version}/${path}` : undefined;
    });
  }
  return rewriteLinks(text, (target) => {
    const path = posix.normalize(target.split('#')[0]);
    const kind = PICTURE.test(path) ? 'raw' : statSync(join(root, path)).isDirectory() ? 'tree' : 'blob';
    return `${repository}/${kind}/v${version}/${posix.normalize(target)}`;
  });
}
