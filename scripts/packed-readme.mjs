/**
 * npm runs this before it packs, and with `--restore` after: the README's relative links lead nowhere on npm's page of the package.
 * With `repository` in package.json they lead there, to the version's tag. Until then they lead to the published files, at
 * unpkg.com; what is not published is not linked.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packedReadme } from './docs/packed-readme.mjs';
import { manifest } from './docs/repository.mjs';
import { root } from './workspace.mjs';

const readme = join(root, 'README.md');
const original = join(root, 'node_modules/.cache/README.md');

// What an interrupted run left.
if (existsSync(original)) renameSync(original, readme);
if (!process.argv.includes('--restore')) {
  const text = readFileSync(readme, 'utf8');
  mkdirSync(join(original, '..'), { recursive: true });
  writeFileSync(original, text);
  writeFileSync(readme, packedReadme(text, manifest()));
}
