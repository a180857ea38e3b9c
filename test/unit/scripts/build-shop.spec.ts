import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, SAMPLE } from '../../../scripts/workspace.mjs';

test('the quick build has all that the library consists of, the page for operators among it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'build-shop-'));
  try {
    mkdirSync(join(folder, SAMPLE), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    const module = pathToFileURL(join(root, 'scripts/checkout/build.mjs')).href;
    const program = `(await import(${JSON.stringify(module)})).buildShop(${JSON.stringify(folder)})`;
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program]);
    expect(stderr.toString()).toBe('');
    const files = (at: string) => readdirSync(at, { recursive: true, encoding: 'utf8' }).sort();
    const expected = files(join(root, 'lib')).map((path) => path.replace(/\.ts$/, '.js'));
    expect(files(join(folder, 'dist'))).toEqual(expect.arrayContaining(expected));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
