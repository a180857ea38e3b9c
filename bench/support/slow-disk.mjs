import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../../test/support/servers.mjs';

/**
 * Compiles a library that makes each flush of the server it is preloaded into take 2 ms more.
 *
 * @returns {string | undefined} its path; `undefined` where there is no compiler
 */
export function compileSlowDisk() {
  const folder = makeFolder('bench-slow-disk');
  chmodSync(folder, 0o755);
  const library = join(folder, 'slow-disk.so');
  const source = join(import.meta.dirname, 'slow-disk.c');
  const compiled = spawnSync('gcc', ['-O2', '-shared', '-fPIC', '-o', library, source, '-ldl'], { stdio: 'pipe' });
  return compiled.status === 0 ? library : undefined;
}
