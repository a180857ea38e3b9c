/** How scripts run jest. Imports nothing but Node: it is loaded before `npm ci` did its work. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, succeeds } from './workspace.mjs';

/**
 * @param {string[]} args
 * @param {number} [timeout] in milliseconds
 * @returns {Promise<{ passed: boolean, failedSpecs: string[] }>} the paths of the spec files that failed, as far as jest got
 */
export async function jest(args, timeout) {
  const folder = mkdtempSync(join(tmpdir(), 'idempotency-jest-'));
  const failures = join(folder, 'failed.json');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  process.env.FAILED_SPECS_FILE = failures;
  const passed = await succeeds(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--no-warnings',
      `--import=${pathToFileURL(join(root, 'test/support/end-with-parent.mjs')).href}`,
      join(root, 'node_modules/jest/bin/jest.js'),
      ...args,
    ],
    { timeout },
  );
  const failedSpecs = existsSync(failures) ? JSON.parse(readFileSync(failures, 'utf8')) : [];
  process.off('exit', remove);
  remove();
  return { passed, failedSpecs };
}
