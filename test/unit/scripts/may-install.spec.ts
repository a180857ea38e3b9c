import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from '../../../scripts/workspace.mjs';

const MODULE = pathToFileURL(join(root, 'scripts/databases.mjs')).href;

/** What a script makes of its arguments and environment, where no user can be asked. */
function answered(args: string[], CI?: string): unknown {
  const program = `
    const { mayInstall } = await import(${JSON.stringify(MODULE)});
    console.log = () => undefined;
    const may = await mayInstall(['redis-server']);
    process.stdout.write(JSON.stringify([may, process.argv.slice(1)]));`;
  const { PATH } = process.env;
  const env = { PATH, ...(CI !== undefined && { CI }) };
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program, '--', 'script', ...args], {
    env,
  });
  return JSON.parse(stdout.toString());
}

test.each([
  [['-t', 'replay'], undefined, false],
  [['-t', 'replay'], 'false', false],
  [['-t', 'replay'], 'true', true],
  [['--yes', '-t', 'replay'], undefined, true],
])('%j with CI %p may install system packages: %p', (args, CI, may) => {
  expect(answered(args, CI)).toEqual([may, ['script', '-t', 'replay']]);
});
