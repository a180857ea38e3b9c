/**
 * The fault lab. Without arguments: one run of the library as it is, and one of each way to break it, which has to be
 * noticed. `--seconds N` of faults a run, `--only-good`, `--broken NAME`, `--dialect mariadb`, `--workers N`,
 * `--only plain,transfer` for operations of these kinds.
 * `--minutes N`: runs of the library as it is, one after the other, for that long (`npm run soak`). SEED reruns a seed.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SWITCH_NAMES } from './app/switches.js';
import { run, type RunResult } from './lab/run.js';
import { type LabDialect, Servers } from './lab/servers.js';
import { NOTHING, sum, tableOf, tally } from './report/table.js';
import { writeReport } from './report/write.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '35' },
    minutes: { type: 'string' },
    'only-good': { type: 'boolean', default: false },
    broken: { type: 'string' },
    dialect: { type: 'string' },
    only: { type: 'string' },
    workers: { type: 'string', default: '16' },
    runs: { type: 'string', default: 'test/.built/runs' },
  },
});
const seed = process.env.SEED ?? randomBytes(4).toString('hex');
const forMs = Number(values.seconds) * 1_000;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
let passed = 0;
let failed = 0;
let all = NOTHING;

/** Servers are for one run after the other. */
async function withServers(dialect: LabDialect, work: (servers: Servers) => Promise<void>): Promise<void> {
  const servers = await Servers.start(dialect);
  try {
    await work(servers);
  } finally {
    await servers.dispose();
  }
}

async function one(servers: Servers, name: string, runSeed: string, broken?: string): Promise<RunResult> {
  const folder = resolve(values.runs, `${name.replace(/\W+/g, '-')}-${runSeed}`);
  // What is broken has longer to be noticed: most of it shows within 30 s, at which the run ends.
  const settings = {
    seed: runSeed,
    forMs: broken ? 5 * forMs : forMs,
    folder,
    broken,
    workers: Number(values.workers),
    only: values.only?.split(','),
  };
  const result = await run(settings, servers);
  writeReport(result);
  return result;
}

async function good(servers: Servers, runSeed: string): Promise<void> {
  console.log(`\n${servers.dialect}, SEED=${runSeed}`);
  const result = await one(servers, servers.dialect, runSeed);
  const told = tally(result);
  all = sum(all, told);
  console.log(tableOf(told));
  for (const { guarantee, op, detail } of result.violations.slice(0, 20)) {
    console.log(`  ${guarantee}: ${op ?? ''}: ${detail}`);
  }
  if (result.violations.length) console.log(`  see ${join(result.settings.folder, 'timeline.html')}`);
  if (result.violations.length) failed++;
  else passed++;
  // A soak would fill the disk with what there is nothing to see in.
  if (values.minutes && result.violations.length === 0) rmSync(result.settings.folder, { recursive: true });
}

async function broken(servers: Servers, name: string): Promise<void> {
  const result = await one(servers, name, seed, name);
  const [first] = result.violations;
  const operations = result.history.filter(({ kind }) => kind === 'operation').length;
  const seconds = (result.tookMs / 1_000).toFixed(1);
  if (first) {
    passed++;
    console.log(
      `broken: ${name}: noticed in ${seconds} s, ${operations} operations: ${first.guarantee}: ${first.detail}`,
    );
  } else {
    failed++;
    console.log(`broken: ${name}: NOT noticed in ${seconds} s, ${operations} operations`);
  }
}

const dialects: readonly LabDialect[] = values.minutes ? ['postgres', 'mariadb'] : ['postgres'];
const chosen = values.dialect ? [values.dialect as LabDialect] : dialects;
if (values.minutes) {
  const until = performance.now() + Number(values.minutes) * 60_000;
  for (let i = 1; performance.now() < until; i++) {
    await withServers(chosen[i % chosen.length], (servers) => good(servers, `${seed}-${i}`));
  }
  console.log(`\nIn all, ${chosen.join(' and ')} in turn:\n${tableOf(all)}`);
} else {
  await withServers(chosen[0], async (servers) => {
    if (!values.broken) await good(servers, seed);
    if (values['only-good']) return;
    for (const name of values.broken ? [values.broken] : SWITCH_NAMES) await broken(servers, name);
  });
}
console.log(`\nfault lab: ${passed} passed, ${failed} failed (SEED=${seed})`);
process.exit(failed ? 1 : 0);
