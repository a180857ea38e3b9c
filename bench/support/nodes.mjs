import { join } from 'node:path';
import { installNode } from '../../scripts/npm-install.mjs';

const FOLDER = join(import.meta.dirname, '../.nodes');

/**
 * The Node of a major version: the one that runs, or the newest that npm has.
 *
 * @param {number} major
 * @returns {{ version: string, path: string }}
 */
export function nodeOf(major) {
  const { version, execPath } = process;
  return Number.parseInt(version.slice(1), 10) === major
    ? { version, path: execPath }
    : installNode(FOLDER, `${major}`);
}
