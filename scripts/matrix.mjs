/**
 * `npm run matrix`: installs the package, as it would be published, beside each supported version of what it works with, and
 * has an application answer on each version of Node, as an ES module and as CommonJS. `--only 'Nest 11'` for some of it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { startPostgres, startRedis, startTogether } from '../test/support/servers.mjs';
import { smoke } from './matrix/smoke.mjs';
import { installNode, npmInstall } from './npm-install.mjs';
import { buildLibrary, root } from './workspace.mjs';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, keep: { type: 'boolean' } } });

/** The oldest Node that the library runs on, and the newest of each line. */
const NODES = ['20.19.0', '22', '24'];
const FORMATS = /** @type {const} */ (['esm', 'cjs']);
const STACKS = ['11', '12'].flatMap((nest) =>
  ['0.3.31', '1'].flatMap((typeorm) => ['5', '6'].map((ioredis) => ({ nest, typeorm, ioredis }))),
);
const TIME_LIMIT = 90_000;

const folder = mkdtempSync(join(tmpdir(), 'idempotency-matrix-'));
/** @type {import('../test/support/servers.mjs').Server[]} */
let servers = [];
let failures = 0;
try {
  await buildLibrary();
  const tarball = pack();
  const nodes = NODES.map((wanted) => installNode(folder, wanted));
  servers = await startTogether([startPostgres(), startRedis()]);
  const header = nodes.flatMap(({ version }) => FORMATS.map((format) => `${version} ${format}`));
  print('', 'peers', ...header);
  for (const stack of STACKS) {
    const name = `Nest ${stack.nest}, TypeORM ${stack.typeorm}, ioredis ${stack.ioredis}`;
    if (!name.includes(values.only)) continue;
    const { place, peers } = installStack(name, stack, tarball);
    /** @type {string[]} */
    const results = [];
    for (const { version, path } of nodes) {
      for (const format of FORMATS)
        results.push(await runs(place, path, format, `${name}, Node ${version}, ${format}`));
    }
    print(name, peers, ...results);
  }
} finally {
  await Promise.all(servers.map((server) => server.dispose()));
  if (values.keep) console.log(folder);
  else rmSync(folder, { recursive: true, force: true });
}
process.exit(failures ? 1 : 0);

function pack() {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  /** @type {[{ filename: string }]} */
  const [{ filename }] = JSON.parse(
    execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
  );
  return join(folder, filename);
}

/**
 * @param {string} name
 * @param {{ nest: string, typeorm: string, ioredis: string }} stack
 * @param {string} tarball
 */
function installStack(name, { nest, typeorm, ioredis }, tarball) {
  const place = join(folder, name.replaceAll(/\W+/g, '-'));
  const dependencies = {
    'nestjs-idempotency': `file:${tarball}`,
    '@nestjs/common': `^${nest}.0.0`,
    '@nestjs/core': `^${nest}.0.0`,
    '@nestjs/platform-express': `^${nest}.0.0`,
    '@nestjs/typeorm': `^${nest}.0.0`,
    typeorm: typeorm.includes('.') ? typeorm : `^${typeorm}.0.0`,
    ioredis: `^${ioredis}.0.0`,
    pg: '^8.0.0',
    'reflect-metadata': '^0.2.0',
    rxjs: '^7.8.0',
  };
  const asAsked = npmInstall(place, dependencies);
  // TypeORM does not name ioredis 6 as a peer, and uses it only for a query cache.
  const forced = asAsked.ok ? asAsked : npmInstall(place, dependencies, ['--legacy-peer-deps']);
  if (!forced.ok) throw new Error(`${name}: ${forced.output}`);
  for (const format of FORMATS) writeFileSync(join(place, `smoke.${format === 'esm' ? 'mjs' : 'cjs'}`), smoke(format));
  return { place, peers: asAsked.ok ? 'ok' : `forced: ${conflictOf(asAsked.output)}` };
}

/** @param {string} output */
function conflictOf(output) {
  return /(peer\w*) (\S+) from (\S+)/.exec(output)?.slice(2).join(' of ') ?? 'conflict';
}

/**
 * @param {string} place
 * @param {string} node
 * @param {'esm' | 'cjs'} format
 * @param {string} name
 */
async function runs(place, node, format, name) {
  const [postgres, redis] = servers.map(({ port }) => port);
  const schema = `s_${name.toLowerCase().replaceAll(/\W+/g, '_')}`;
  const url = `postgres://postgres@127.0.0.1:${postgres}/test`;
  const client = new pg.Client(url);
  await client.connect();
  await client.query(`CREATE SCHEMA ${schema}`);
  await client.end();
  const env = { PATH: process.env.PATH, DATABASE_URL: url, SCHEMA: schema, REDIS_PORT: String(redis) };
  const file = `smoke.${format === 'esm' ? 'mjs' : 'cjs'}`;
  const { stdout, stderr } = spawnSync(node, [file], { cwd: place, env, encoding: 'utf8', timeout: TIME_LIMIT });
  if (stdout.trim().endsWith('ok')) return 'ok';
  failures++;
  console.error(`${name}:\n${stdout}${stderr}`);
  return 'FAILED';
}

/** @param {string[]} cells */
function print(...cells) {
  console.log(`| ${cells.join(' | ')} |`);
  if (cells[0] === '') console.log(`|${cells.map(() => '---|').join('')}`);
}
