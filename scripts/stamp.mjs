/** Notes in folders what they were made from, so that they are made again only when that has changed. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const FILE = '.made-from';

/** @param {string[]} texts */
export function digestOf(...texts) {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex');
}

/**
 * @param {string} folder
 * @param {string} digest of what the folder would be made from
 */
export function isCurrent(folder, digest) {
  try {
    return readFileSync(join(folder, FILE), 'utf8') === digest;
  } catch {
    return false;
  }
}

/**
 * To be called last: a folder whose making was interrupted has no stamp.
 *
 * @param {string} folder
 * @param {string} digest
 */
export function stamp(folder, digest) {
  writeFileSync(join(folder, FILE), digest);
}
