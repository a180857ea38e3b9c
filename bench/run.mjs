/**
 * `npm run bench`: the library against the bare handler, the floor and its rivals, on two versions of Node. Prints tables, and
 * writes results.json and results.svg beside this file.
 *
 * These write nothing: `--quick` tries everything for a moment; `--only requests,bodies`, `--platform fastify` and `--node 24` measure
 * a part. With `--save`, a part that has both platforms is written, and stands alone: figures of two runs are not compared.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { format } from 'prettier';
import { measureAnatomy } from './suites/anatomy.mjs';
import { measureBodies } from './suites/bodies.mjs';
import { measureOpenLoop } from './suites/open-loop.mjs';
import { measureRequests } from './suites/requests.mjs';
import { measureRivals } from './suites/rivals.mjs';
import { measureSlowDisk } from './suites/slow-disk.mjs';
import { measureWakeUps } from './suites/wake-up.mjs';
import { chart } from './support/chart.mjs';
import { Load } from './support/load.mjs';
import { nodeOf } from './support/nodes.mjs';
import { anatomyTable, fixed, machine, table } from './support/report.mjs';
import { verdicts } from './targets.mjs';

/**
 * @typedef {import('./support/measure.mjs').Suite} Suite
 * @typedef {import('./support/measure.mjs').Effort} Effort
 * @typedef {import('./targets.mjs').Found} Found
 */

const PLATFORMS = 'fastify,express';
/** The LTS first: the chart is of that, and what is measured on one version only. */
const NODES = '24,20';
const SUITES = 'anatomy,requests,bodies,open-loop,slow-disk,rivals,wake-up';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: SUITES },
    platform: { type: 'string', default: PLATFORMS },
    node: { type: 'string', default: NODES },
    save: { type: 'boolean', default: false },
  },
});
const isWhole = !values.quick && values.only === SUITES && values.platform === PLATFORMS && values.node === NODES;
const platforms = /** @type {('fastify' | 'express')[]} */ (values.platform.split(','));
const nodes = values.node.split(',').map((major) => nodeOf(Number(major)));
const load = new Load();
const effort = { load, ...(values.quick ? { rounds: 1, ms: 400 } : { rounds: 5, ms: 1200 }) };

try {
  const startedAt = performance.now();
  console.log(JSON.stringify(machine()));
  /** @type {Found} */
  const found = { nodes: {}, ...(await measureOnce({ ...effort, node: nodes[0].path })) };
  for (const { version, path } of nodes) found.nodes[version] = await measureOn(version, { ...effort, node: path });
  const judged = verdicts(found);
  console.log(`\n${table(['target', 'wanted', 'found', ''], judged.map(row))}`);
  const minutes = (performance.now() - startedAt) / 60_000;
  console.log(`\nMeasured in ${fixed(minutes, 0)} minutes`);
  const { rounds, ms } = effort;
  if (isWhole || values.save) await write({ machine: machine(), effort: { rounds, ms, minutes }, ...found, judged });
} finally {
  load.close();
}

/** @param {string} suite */
function isChosen(suite) {
  return values.only.split(',').includes(suite);
}

/**
 * What is measured on each version of Node.
 *
 * @param {string} version
 * @param {Effort} options
 */
async function measureOn(version, options) {
  /** @type {Found['nodes'][string]} */
  const found = {};
  for (const platform of platforms) {
    const where = `${platform}, Node ${version.slice(1)}`;
    const on = (found[platform] = /** @type {import('./targets.mjs').OnPlatform} */ ({}));
    if (isChosen('anatomy')) {
      const { load, node } = options;
      on.anatomy = await measureAnatomy(platform, { load, node, ...(values.quick && { requests: 500 }) });
      console.log(`\n${where}, 32 connections, amounts a request\n${anatomyTable(on.anatomy)}`);
    }
    if (isChosen('requests')) {
      on.requests = await measureRequests(platform, options);
      print(`${where}, one INSERT, 32 connections`, on.requests);
    }
    if (isChosen('bodies')) {
      on.bodies = await measureBodies(platform, options);
      print(`${where}, request and answer of a size, 8 connections`, on.bodies);
    }
    if (isChosen('open-loop')) {
      on.openLoop = await measureOpenLoop(platform, options);
      const { rate, addedByFloor, addedByOurs, ratio, suite } = on.openLoop;
      print(`${where}, a handler of 5 ms, ${fixed(rate, 0)} requests a second at fixed times`, suite);
      console.log(`Added p50: floor ${fixed(addedByFloor)} ms, ours ${fixed(addedByOurs)} ms, ratio ${fixed(ratio)}`);
    }
  }
  return found;
}

/**
 * What is measured on one version of Node only.
 *
 * @param {Effort} options
 * @returns {Promise<Omit<Found, 'nodes'>>}
 */
async function measureOnce(options) {
  /** @type {Omit<Found, 'nodes'>} */
  const found = {};
  if (isChosen('slow-disk')) {
    found.slowDisk = await measureSlowDisk(options);
    if (found.slowDisk) print('A disk whose flush takes 2 ms more', found.slowDisk);
    else console.warn('\nSKIPPED: the slow disk, as there is no gcc to compile it with. Its targets are not checked.');
  }
  if (isChosen('rivals')) {
    found.rivals = await measureRivals(options);
    if (found.rivals) print('A handler that does nothing, on Express, 32 connections', found.rivals);
    else console.warn('\nSKIPPED: the rivals, as they could not be installed.');
  }
  if (isChosen('wake-up')) {
    found.wakeUp = await measureWakeUps({ rounds: values.quick ? 5 : 60, node: options.node });
    const channels = Object.entries(found.wakeUp).map(([name, { one, oneWorst, fifty }]) =>
      [name, fixed(one), fixed(oneWorst), fixed(fifty)].map(String),
    );
    console.log(`\n${table(['wake-up after the first answer, ms', 'median', 'worst', 'median of 50'], channels)}`);
  }
  return found;
}

/**
 * @param {string} title
 * @param {Suite} suite
 */
function print(title, suite) {
  const head = ['', 'requests/s', 'p50', 'p99', 'CPU app', 'CPU PG', '|', 'statements', 'write commits', 'flushes'];
  head.push('WAL bytes', 'Redis', '|', 'requests/s', 'p50 ms', 'p99 ms', 'app us', 'PG us');
  head.push('|', 'requests/s', 'CPU app', 'CPU PG', 'to');
  const rows = Object.entries(suite).map(([name, { ratio, against, ...one }]) => [
    name,
    ...[ratio.perSecond, ratio.p50, ratio.p99, ratio.appCpu, ratio.databaseCpu].map((value) => fixed(value)),
    '|',
    ...[one.statements, one.writeCommits, one.flushes].map((value) => fixed(value)),
    ...[one.walBytes, one.redisCommands].map((value) => fixed(value, 0)),
    '|',
    fixed(one.perSecond, 0),
    ...[one.p50, one.p99].map((value) => fixed(value, 1)),
    ...[one.appCpu, one.databaseCpu].map((value) => fixed(value, 0)),
    '|',
    ...(against
      ? [against.ratio.perSecond, against.ratio.appCpu, against.ratio.databaseCpu].map((value) => fixed(value))
      : ['', '', '']),
    against?.name ?? '',
  ]);
  console.log(
    `\n${title}. To the left ratios to the bare handler, then amounts a request, to the right ratios to another variant.`,
  );
  console.log(table(head, rows));
}

/** @param {import('./targets.mjs').Verdict} verdict */
function row({ name, wanted, found, met }) {
  return [name, wanted, fixed(found), met ? '' : 'MISSED'];
}

/** @param {Found & Record<string, unknown>} results */
async function write(results) {
  const rounded = JSON.stringify(results, (key, value) => {
    if (key === 'heap') return undefined;
    return typeof value === 'number' ? Number(value.toPrecision(4)) : value;
  });
  writeFileSync(join(import.meta.dirname, 'results.json'), await format(rounded, { parser: 'json', printWidth: 120 }));
  const [{ version }] = nodes;
  const { cpu, cores } = machine();
  const svg = chart({
    title: 'Requests a second, to a bare Nest handler with one INSERT',
    note: `32 connections, PostgreSQL with fsync, ${cores} cores (${cpu}), Node ${version.slice(1)}; median of ${effort.rounds} rounds`,
    ...bars(results.nodes[version]),
  });
  writeFileSync(join(import.meta.dirname, 'results.svg'), svg);
}

/**
 * The floor's bars beside those of the library.
 *
 * @param {Record<string, import('./targets.mjs').OnPlatform>} on by platform
 */
function bars({ express, fastify }) {
  const suites = [express.requests ?? {}, fastify.requests ?? {}];
  const ours = Object.keys(suites[0]).filter((name) => !/^(bare|floor)/.test(name));
  return {
    series: ['the floor, Express', 'Express', 'the floor, Fastify', 'Fastify'],
    rows: ours.map((name) => ({
      name,
      values: suites.flatMap((suite) => [suite[`floor: ${name}`]?.ratio.perSecond, suite[name].ratio.perSecond]),
    })),
  };
}
