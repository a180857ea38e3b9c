/**
 * `npm run bench`: the library against the bare handler and against its rivals. Prints tables, and writes results.json and
 * results.svg beside this file. `--quick` tries everything for a moment and writes nothing.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { format } from 'prettier';
import { chart } from './support/chart.mjs';
import { Load } from './support/load.mjs';
import { summarize } from './support/measure.mjs';
import { fixed, machine, table } from './support/report.mjs';
import { measureRequests } from './suites/requests.mjs';
import { measureRivals } from './suites/rivals.mjs';
import { measureSlowDisk } from './suites/slow-disk.mjs';
import { measureWakeUps } from './suites/wake-up.mjs';
import { verdicts } from './targets.mjs';

/**
 * @typedef {import('./support/measure.mjs').Summary} Summary
 * @typedef {Map<string, import('./support/measure.mjs').Sample[]>} Samples
 */

const { quick } = parseArgs({ options: { quick: { type: 'boolean', default: false } } }).values;
const load = new Load();
const effort = quick ? { load, rounds: 1, ms: 400 } : { load, rounds: 5, ms: 1200 };

try {
  const found = await measureAll();
  const judged = verdicts(found);
  console.log(`\n${table(['target', 'wanted', 'found', ''], judged.map(row))}`);
  if (!quick) await write({ machine: machine(), effort: { rounds: effort.rounds, ms: effort.ms }, ...found, judged });
} finally {
  load.close();
}

async function measureAll() {
  console.log(JSON.stringify(machine()));
  const express = over(await measureRequests('express', effort), () => 'bare');
  print('Express, one INSERT, 32 connections', express);
  const fastify = over(await measureRequests('fastify', effort), () => 'bare');
  print('Fastify, one INSERT, 32 connections', fastify);

  const slow = await measureSlowDisk(effort);
  const slowDisk = slow && over(slow, (name) => name.replace(/: .*/, ': bare'));
  if (slowDisk) print('A disk whose flush takes 2 ms more', slowDisk);
  else console.warn('\nSKIPPED: the slow disk, as there is no gcc to compile it with. Its targets are not checked.');

  const race = await measureRivals(effort);
  const rivals = race && over(race, () => 'bare');
  if (rivals) print('A handler that does nothing, on Express, 32 connections', rivals);
  else console.warn('\nSKIPPED: the rivals, as they could not be installed. Their target is not checked.');

  const wakeUp = await measureWakeUps({ rounds: quick ? 5 : 60 });
  const channels = Object.entries(wakeUp).map(([name, { one, oneWorst, fifty }]) =>
    [name, fixed(one), fixed(oneWorst), fixed(fifty)].map(String),
  );
  console.log(`\n${table(['wake-up after the first answer, ms', 'median', 'worst', 'median of 50'], channels)}`);
  return { express, fastify, slowDisk, rivals, wakeUp };
}

/**
 * @param {Samples} samples
 * @param {(name: string) => string} baseline
 * @returns {Record<string, Summary>}
 */
function over(samples, baseline) {
  const of = (/** @type {string} */ name) => /** @type {any} */ (samples.get(name));
  return Object.fromEntries([...samples.keys()].map((name) => [name, summarize(of(name), of(baseline(name)))]));
}

/**
 * @param {string} title
 * @param {Record<string, Summary>} suite
 */
function print(title, suite) {
  const head = ['', 'requests/s', 'p50', 'p99', 'CPU app', 'CPU PG', '|', 'statements', 'write commits', 'flushes'];
  head.push('WAL bytes', 'Redis', '|', 'requests/s', 'p50 ms', 'p99 ms', 'app us', 'PG us');
  const rows = Object.entries(suite).map(([name, { ratio, ...one }]) => [
    name,
    ...[ratio.perSecond, ratio.p50, ratio.p99, ratio.appCpu, ratio.databaseCpu].map((value) => fixed(value)),
    '|',
    ...[one.statements, one.writeCommits, one.flushes].map((value) => fixed(value)),
    ...[one.walBytes, one.redisCommands].map((value) => fixed(value, 0)),
    '|',
    fixed(one.perSecond, 0),
    ...[one.p50, one.p99].map((value) => fixed(value, 1)),
    ...[one.appCpu, one.databaseCpu].map((value) => fixed(value, 0)),
  ]);
  console.log(`\n${title}. To the left ratios to the bare handler, in the middle amounts a request.`);
  console.log(table(head, rows));
}

/** @param {import('./targets.mjs').Verdict} verdict */
function row({ name, wanted, found, met }) {
  return [name, wanted, fixed(found), met ? '' : 'MISSED'];
}

/** @param {Awaited<ReturnType<typeof measureAll>> & Record<string, unknown>} results */
async function write(results) {
  const { express, fastify } = results;
  const rounded = JSON.stringify(results, (_key, value) =>
    typeof value === 'number' ? Number(value.toPrecision(4)) : value,
  );
  writeFileSync(join(import.meta.dirname, 'results.json'), await format(rounded, { parser: 'json', printWidth: 120 }));
  const { cpu, cores, node } = machine();
  const rows = Object.keys(express).map((name) => ({
    name,
    values: /** @type {[number, number]} */ ([express[name].ratio.perSecond, fastify[name].ratio.perSecond]),
  }));
  const svg = chart({
    title: 'Requests a second, to a bare Nest handler with one INSERT',
    note: `32 connections, PostgreSQL with fsync, ${cores} cores (${cpu}), Node ${node}; median of ${effort.rounds} rounds`,
    series: ['Express', 'Fastify'],
    rows,
  });
  writeFileSync(join(import.meta.dirname, 'results.svg'), svg);
}
