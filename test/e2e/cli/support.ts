import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import type { DataSourceOptions } from 'typeorm';
import { Terminal } from '../../../lib/cli/output/terminal.js';
import { run } from '../../../lib/cli/run.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const BIN = 'dist/cli/main.js';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CallOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string | Uint8Array;
  /** Where the package is, if not here. */
  readonly folder?: string;
}

/** Runs the built program, with nothing in its environment that it would take for its own. */
export async function cli(
  args: readonly string[],
  { env = {}, cwd, input = '', folder }: CallOptions = {},
): Promise<Ended> {
  const { PATH } = process.env;
  const node = folder ? ['--preserve-symlinks', '--preserve-symlinks-main'] : [];
  const child = spawn(process.execPath, [...node, join(folder ?? ROOT, BIN), ...args], { cwd, env: { PATH, ...env } });
  child.stdin.end(input);
  const [[code], stdout, stderr] = await Promise.all([
    once(child, 'close') as Promise<[number | null]>,
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code, stdout, stderr };
}

/**
 * The same within this process, which is much quicker. For what depends on arguments, environment and database alone: a spec file
 * that uses it runs the program, too.
 */
export async function cliHere(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const written = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') =>
    ({ isTTY: false, write: (text: string) => void (written[name] += text) }) as unknown as NodeJS.WriteStream;
  const code = await run(args, env, new Terminal(stream('stdout'), stream('stderr'), env));
  return { code, ...written };
}

/** The package in a folder of its own, as if some of what it finds here had not been installed. */
export async function installWithout(missing: RegExp): Promise<string> {
  const folder = await mkdtemp(join(process.env.TEST_FOLDER!, 'cli-'));
  const link = (path: string) => symlink(join(ROOT, path), join(folder, path));
  await mkdir(join(folder, 'node_modules'));
  const installed = (await readdir(join(ROOT, 'node_modules'))).filter((name) => !missing.test(name));
  await Promise.all([...installed.map((name) => link(`node_modules/${name}`)), link('dist'), link('package.json')]);
  return folder;
}

/** The URL of a test's database. */
export function urlOf(options: DataSourceOptions): string {
  const { type, database } = options;
  if (type === 'better-sqlite3') return `sqlite:${database}`;
  const { host, port, username, password } = options as unknown as Record<string, string | number>;
  return `${type}://${username}:${password}@${host}:${port}/${String(database)}`;
}
