import { execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { codeBlocks } from '../../../scripts/docs/code-blocks.mjs';
import { root } from '../../../scripts/workspace.mjs';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';

/**
 * Follows docs/guide.md and the quick start of README.md: writes their files, runs their commands in one bash, and compares
 * what they print. The library comes from its own tarball, everything else from the repository's node_modules.
 */

const MODULES = join(root, 'node_modules');
const LIMIT = 300_000;
const run = promisify(execFile);

/** Which commands are carried out otherwise here: they would download, stay in the foreground, or name other servers. */
const REPLACED: readonly (readonly [page: RegExp, here: string])[] = [
  [/^npx @nestjs\/cli@12 new (.*)$/m, `'${join(MODULES, '.bin/nest')}' new $1 --skip-install < /dev/null`],
  [/^npm install nestjs-idempotency .*$/m, 'link_modules'],
  [/^npm install pg@8 ioredis@5$/m, ''],
  [/^export DATABASE_URL=\S+( REDIS_URL=\S+)?( #.*)?$/m, 'export DATABASE_URL=$TEST_DATABASE_URL'],
  [/^npm start$/m, 'restart'],
  [/^curl ((?!.*-sS).*)$/m, 'curl -sS $1; echo'],
];

/** Headers that the pages leave out. */
const LEFT_OUT = /^(X-Powered-By|Content-Length|ETag|Date|Connection|Keep-Alive):/;

interface Command {
  readonly page: string;
  readonly line: number;
  readonly text: string;
  /** What the page says that it prints; `undefined` where it says nothing. */
  readonly prints: string | undefined;
}

let database: TestDatabase<'postgres'>;
beforeAll(async () => (database = await createDatabase('postgres')));
afterAll(() => database?.drop());

test('docs/guide.md does what it says', () => follow(codeBlocks('docs/guide.md'), 15), LIMIT);

test('the quick start of README.md does what it says', () => follow(codeBlocks('README.md', quickStart()), 2), LIMIT);

/** README.md with nothing but its quick start; its lines are where they were. */
function quickStart(): string {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const [before, section] = text.split(/^## Quick start$/m);
  return before.replace(/[^\n]/g, '') + section.split(/^## /m)[0];
}

async function follow(blocks: ReturnType<typeof codeBlocks>, moreThan: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'idempotency-page-'));
  try {
    await pack(folder);
    const { commands, script } = compose(blocks, folder);
    await writeFile(join(folder, 'page.sh'), script);
    const printed = await bash(folder, {
      PORT: String(await freePort()),
      TEST_DATABASE_URL: urlOf(database),
      REDIS_URL: `redis://127.0.0.1:${process.env.TEST_REDIS_PORTS!.split(',')[0]}`,
    });
    expect(printed).toHaveLength(commands.length + 1);
    const [onPage, here] = [normalizer(), normalizer()];
    const compared = commands.flatMap(({ page, line, text, prints }, i) => {
      if (prints === undefined) return [];
      const command = `${page}:${line} $ ${text}`;
      return [{ page: `${command}\n${onPage(prints)}`, here: `${command}\n${here(printed[i])}` }];
    });
    expect(compared.length).toBeGreaterThan(moreThan);
    expect(compared.map(({ here }) => here)).toEqual(compared.map(({ page }) => page));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function urlOf({ options }: TestDatabase<'postgres'>): string {
  return `postgres://${options.username}:${options.password as string}@${options.host}:${options.port}/${options.database}`;
}

/** Packs the library and puts it beside what it and the page's project depend on, as an installation would. */
async function pack(folder: string): Promise<void> {
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, 'nestjs-idempotency'), { recursive: true });
  await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: root });
  const tarball = (await readdir(folder)).find((name) => name.endsWith('.tgz'))!;
  await run('tar', ['-xzf', join(folder, tarball), '-C', join(modules, 'nestjs-idempotency'), '--strip-components=1']);
  for (const name of await readdir(MODULES)) {
    if (name === 'nestjs-idempotency' || name.startsWith('.package-lock')) continue;
    await symlink(join(MODULES, name), join(modules, name));
  }
  // The new project names its test runner's types in its tsconfig.json; the pages have no tests.
  await mkdir(join(modules, 'vitest'));
  await writeFile(join(modules, 'vitest/globals.d.ts'), 'export {};\n');
}

/** A page as one script: its files, its commands, and a mark before each command. */
function compose(blocks: ReturnType<typeof codeBlocks>, folder: string) {
  const commands: Command[] = [];
  const script = [
    'set -u',
    'exec 2>&1',
    'trap \'kill -9 "${server:-}" 2> /dev/null\' EXIT',
    'restart() { if [ -n "${server:-}" ]; then kill $server; wait $server; fi; npm run build && start; }',
    'start() { node dist/main.js > server.log 2>&1 & server=$!; until curl -s localhost:$PORT > /dev/null; do awaited; done; }',
    'awaited() { kill -0 $server || { cat server.log; exit 1; }; sleep 0.2; }',
    `link_modules() { ln -s '${join(folder, 'node_modules')}' node_modules; }`,
  ];
  const add = (command: Command) => {
    let text = command.text.replaceAll('localhost:3000', 'localhost:$PORT');
    for (const [page, here] of REPLACED) text = text.replace(page, here);
    script.push(`echo '@@@ ${commands.length}'`, text);
    commands.push(command);
  };
  for (const { page, language, title, line, code } of blocks) {
    if (title) script.push(`cat > '${title}' <<'END_OF_FILE'`, code, 'END_OF_FILE');
    if (language === 'sh') add({ page, line, text: code, prints: undefined });
    if (language === 'console') {
      for (const part of code.split(/^\$ /m).slice(1)) {
        const [text, ...prints] = part.split('\n');
        add({ page, line, text, prints: prints.join('\n') });
      }
    }
  }
  script.push("echo '@@@ end'");
  return { commands, script: script.join('\n') };
}

/** What each command printed. */
async function bash(folder: string, env: Record<string, string>): Promise<string[]> {
  const child = spawn('bash', ['page.sh'], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), LIMIT - 20_000);
  let output = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) output += chunk as string;
  clearTimeout(timer);
  return output.split(/^@@@ .*\n/m).slice(1);
}

/**
 * Makes the same text of what may differ: line ends, headers left out, seconds to wait, and ids, which are numbered in
 * the order of their appearance over all texts.
 */
function normalizer(): (text: string) => string {
  const ids: string[] = [];
  const number = (id: string) => {
    if (!ids.includes(id)) ids.push(id);
    return `<id ${ids.indexOf(id)}>`;
  };
  return (text) =>
    text
      .replaceAll('\r', '')
      .split('\n')
      .filter((line) => !LEFT_OUT.test(line))
      .join('\n')
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, number)
      .replace(/^(Retry-After:) \d+$/gm, '$1 <seconds>')
      .trim();
}
