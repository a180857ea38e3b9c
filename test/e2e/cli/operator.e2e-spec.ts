/** What an operator meets at a terminal: pipes, narrow windows, habits from other programs, a set-up that is not complete. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { jest } from '@jest/globals';
import { run } from '../../../lib/cli/run.js';
import { Terminal } from '../../../lib/cli/output/terminal.js';
import { aClaim, again, backendOf, ownership, StoreFixture } from '../store/support.js';
import { cli, cliHere, installWithout, urlOf } from './support.js';

const BIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

// Some calls are processes of their own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

/** A call in a terminal of that width. */
async function at(columns: number, ...args: string[]): Promise<string[]> {
  let printed = '';
  const stream = { isTTY: true, columns, write: (part: string) => void (printed += part) };
  const out = stream as unknown as NodeJS.WriteStream;
  await run(args, {}, new Terminal(out, out, { NO_COLOR: '1' }));
  return printed.split('\n');
}

test('a reader that closes the pipe, such as head, ends the command without an error', async () => {
  const child = spawn(process.execPath, [BIN, '--help']);
  child.stdout.destroy();
  const [[code], stderr] = await Promise.all([once(child, 'close') as Promise<[number]>, text(child.stderr)]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('help: by -h, by `help <command>`, and as wide as the terminal', async () => {
  const { stdout } = await cliHere(['resolve', '--help']);
  expect(await cliHere(['resolve', '-h'])).toMatchObject({ code: 0, stdout });
  expect(await cliHere(['help', 'resolve'])).toMatchObject({ code: 0, stdout });
  expect((await cliHere(['-h'])).stdout).toBe((await cliHere(['--help'])).stdout);
  expect((await cliHere(['help', 'lst'])).stderr).toContain('There is no command "lst"');

  const lines = await at(80, 'list', '--help');
  expect(Math.max(...lines.filter((line) => line.startsWith(' ')).map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(lines).toContain('  --before <recordId>    only older records than this one: the next page; or a');
  expect(lines.join(' ').replace(/\s+/g, ' ')).toContain(
    "only of this caller: the user's id, or what the option `scope` returns --namespace",
  );
});

test('a record that a key does not name: what to compare', async () => {
  const fixture = await StoreFixture.open(backendOf('better-sqlite3'));
  try {
    const env = { DATABASE_URL: urlOf(fixture.options) };
    for (const command of [['show'], ['forget'], ['resolve', '--rerun']]) {
      const { code, stderr } = await cliHere([...command, '--key', 'k', '--endpoint', 'POST /x'], env);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^There is no record of this key .*--endpoint, --scope, --host and --namespace/);
    }

    const claim = aClaim({ endpoint: 'POST /faxes' });
    const store = fixture.store();
    await store.hold(ownership(await store.claim(claim)));
    const resolve = (...headers: string[]) =>
      cliHere(
        ['resolve', claim.recordId, '--status', '201', '--body', '{}', ...headers.flatMap((one) => ['--header', one])],
        env,
      );
    // Recorded, either would break every replay of the operation.
    for (const own of ['Content-Length: 7', 'transfer-encoding: chunked', 'Set-Cookie: session=1']) {
      expect(await resolve(own)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(/^--header cannot have [\w-]+: each replay has its own/) as string,
      });
    }
    // As with curl's -H: the last one alone would lose the others.
    expect(await resolve('Location: /faxes/1', 'X-By: hand')).toMatchObject({ code: 0, stderr: '' });
    const { outcome } = await store.claim(again(claim));
    expect(JSON.parse(outcome!.head!.toString())).toEqual({
      headers: [
        ['Content-Type', 'application/json; charset=utf-8'],
        ['Location', '/faxes/1'],
        ['X-By', 'hand'],
      ],
    });
  } finally {
    await fixture.close();
  }
});

test('a driver that is missing, or not built, and what the doctor says to type', async () => {
  const folder = await installWithout(/^(pg|better-sqlite3)$/);
  const env = { DATABASE_URL: 'postgres://u:p@h/d' };
  const list = await cli(['list'], { folder, cwd: folder, env });
  expect(list).toMatchObject({ code: 3, stderr: expect.stringMatching(/not installed\nType next: npm install pg\n$/) });
  const doctor = await cli(['doctor', '--no-app'], { folder, cwd: folder, env });
  expect(doctor.stdout).toMatch(/failure {2}The driver for this database is not installed\n +→ npm install pg\n/);

  // Such as npm leaves it that was not allowed to run the install script, and after another version of Node was installed.
  const driver = join(folder, 'node_modules/better-sqlite3');
  await mkdir(driver);
  for (const error of [
    `new Error('Could not locate the bindings file. Tried:\\n → a\\n → b')`,
    `Object.assign(new Error("The module 'a.node'\\nwas compiled against a different Node.js version"), { code: 'ERR_DLOPEN_FAILED' })`,
  ]) {
    await writeFile(join(driver, 'index.js'), `module.exports = function () { throw ${error}; };`);
    const unbuilt = await cli(['list', '--database-url', 'sqlite:x'], { folder, cwd: folder });
    expect(unbuilt).toMatchObject({
      code: 3,
      stderr:
        'The driver for this database is not built for this version of Node\nType next: npm rebuild better-sqlite3\n',
    });
  }
});

test('init: in a folder that is no project', async () => {
  const folder = await mkdtemp(join(process.env.TEST_FOLDER!, 'init-'));
  const nowhere = await cli(['init'], { cwd: folder });
  expect(nowhere).toMatchObject({ code: 1, stdout: '' });
  expect(nowhere.stderr).toMatch(/^There is no package\.json here: run this in the folder of a Nest project\n/);
});
