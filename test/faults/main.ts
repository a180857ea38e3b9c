/**
 * The fault lab. Without arguments: a rich and a lean run of the library as it is, and one of each way to break it, which has
 * to be noticed. `--seconds N` of faults a run, `--only-good`, `--broken NAME`, `--dialect mariadb`, `--workers N`,
 * `--only plain,transfer` for operations of these kinds, `--profile lean` for runs of this kind alone,
 * `--calm` without faults.
 * `--part 1/2`: every other one of all these, so that another process takes the rest meanwhile.
 * `--minutes N`: lean and rich runs of the library as it is, on PostgreSQL and MariaDB in turn, for that long (`npm run soak`).
 * `--seed S` reruns a seed.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SWITCH_NAMES, shownIn } from './app/switches.js';
import { Lab, type LabSettings, type RunResult } from './lab/lab.js';
import { trendsOf } from './lab/memory.js';
import { type Profile, PROFILES } from './lab/profile.js';
import { type LabDialect, Servers } from './lab/servers.js';
import { memoryCsv, memoryLines, memoryMarkdown } from './report/memory.js';
import { markdownOf, NOTHING, sum, tableOf, tally } from './report/table.js';
import { writeReport } from './report/write.js';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    'only-good': { type: 'boolean', default: false },
    calm: { type: 'boolean', default: false },
    broken: { type: 'string' },
    dialect: { type: 'string' },
    profile: { type: 'string' },
    only: { type: 'string' },
    workers: { type: 'string' },
    part: { type: 'string', default: '1/1' },
    seed: { type: 'string' },
    runs: { type: 'string', default: 'test/.built/runs' },
  },
});
const seed = values.seed ?? process.env.SEED ?? randomBytes(4).toString('hex');
const profiles = values.profile ? [PROFILES[values.profile as Profile['name']]] : [PROFILES.rich, PROFILES.lean];
/** Of faults, in a run of the library as it is; what is broken has longer to be noticed. */
const SECONDS = { rich: 24, lean: 12 };
const SECONDS_TO_NOTICE = 175;
/** Lean runs take four fifths of a soak. */
const SOAK_SECONDS = { rich: 30, lean: 240 };

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
let passed = 0;
let failed = 0;
const totals = { rich: NOTHING, lean: NOTHING };

function settingsFor(profile: Profile, broken?: string): LabSettings {
  return {
    profile,
    broken,
    workers: values.workers ? Number(values.workers) : undefined,
    only: values.only?.split(','),
  };
}

async function one(lab: Lab, name: string, runSeed: string, seconds: number): Promise<RunResult> {
  const folder = resolve(values.runs, `${name.replace(/\W+/g, '-')}-${runSeed}`);
  const result = await lab.run({ seed: runSeed, forMs: seconds * 1_000, folder, calm: values.calm });
  writeReport(result);
  return result;
}

function open(servers: Servers, settings: LabSettings): Promise<Lab> {
  return Lab.open(settings, servers, resolve(values.runs, `start-${process.pid}`));
}

async function withLab<T>(servers: Servers, settings: LabSettings, work: (lab: Lab) => Promise<T>): Promise<T> {
  const lab = await open(servers, settings);
  try {
    return await work(lab);
  } finally {
    await lab.close();
  }
}

async function good(lab: Lab, dialect: LabDialect, { name }: Profile, runSeed: string, seconds: number): Promise<void> {
  const result = await one(lab, `${name}-${dialect}`, runSeed, seconds);
  const tallied = tally(result);
  totals[name] = sum(totals[name], tallied);
  console.log(`\n${name}, ${dialect}, --seed ${runSeed}\n${tableOf(tallied)}`);
  for (const { guarantee, op, detail } of result.violations.slice(0, 20)) {
    console.log(`  ${guarantee}: ${op ?? ''}: ${detail}`);
  }
  if (result.violations.length) console.log(`  see ${join(result.settings.folder, 'timeline.html')}`);
  if (result.violations.length) failed++;
  else passed++;
  // A soak would fill the disk with what there is nothing to see in.
  if (values.minutes && result.violations.length === 0) rmSync(result.settings.folder, { recursive: true });
}

async function broken(servers: Servers, name: string, profile: Profile): Promise<void> {
  const result = await withLab(servers, settingsFor(profile, name), (lab) => one(lab, name, seed, SECONDS_TO_NOTICE));
  const [first] = result.violations;
  const operations = result.history.filter(({ kind }) => kind === 'operation').length;
  const where = `${(result.tookMs / 1_000).toFixed(1)} s, ${operations} operations, ${profile.name}`;
  if (first) {
    passed++;
    console.log(`broken: ${name}: noticed in ${where}: ${first.guarantee}: ${first.detail}`);
  } else {
    failed++;
    console.log(`broken: ${name}: NOT noticed in ${where}`);
  }
}

/** A run that cannot be brought to its end is a failure of its own: the soak goes on. */
async function orFail(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    failed++;
    console.error(error);
  }
}

/** Lean and rich runs, on one database after the other. The processes of the lean ones live as long as the soak. */
async function soak(minutes: number, dialects: readonly LabDialect[]): Promise<void> {
  const until = performance.now() + minutes * 60_000;
  // Of a short one, each database is to get two.
  const lean = Math.min(SOAK_SECONDS.lean, Math.max(30, minutes * 10));
  const servers = new Map<LabDialect, Servers>();
  const labs = new Map<LabDialect, Lab>();
  try {
    for (const dialect of dialects) servers.set(dialect, await Servers.start(dialect));
    for (let i = 1; performance.now() < until; i++) {
      const dialect = dialects[i % dialects.length];
      const theirs = servers.get(dialect)!;
      if (profiles.includes(PROFILES.lean)) {
        await orFail(async () => {
          const lab = labs.get(dialect) ?? (await open(theirs, settingsFor(PROFILES.lean)));
          labs.set(dialect, lab);
          await good(lab, dialect, PROFILES.lean, `${seed}-${i}`, lean);
          for (const line of memoryLines(trendsOf(lab.memory))) console.log(line);
        });
      }
      if (profiles.includes(PROFILES.rich)) {
        await orFail(() =>
          withLab(theirs, settingsFor(PROFILES.rich), (lab) =>
            good(lab, dialect, PROFILES.rich, `${seed}-${i}`, SOAK_SECONDS.rich),
          ),
        );
      }
    }
  } finally {
    await Promise.all([...labs.values()].map((lab) => lab.close()));
    await Promise.all([...servers.values()].map((one) => one.dispose()));
  }
  const samples = [...labs.values()].flatMap(({ memory }) => memory);
  const trends = trendsOf(samples);
  mkdirSync(resolve(values.runs), { recursive: true });
  writeFileSync(resolve(values.runs, 'memory.csv'), memoryCsv(samples));
  failed += trends.filter(({ grows }) => grows).length;
  console.log(`\n${markdownOf(totals.rich, totals.lean)}\n\n${memoryMarkdown(trends)}\n`);
  console.log(tableOf(sum(totals.rich, totals.lean)));
  for (const line of memoryLines(trends)) console.log(line);
  console.log(`memory over time: ${resolve(values.runs, 'memory.csv')}`);
}

async function examine(dialect: LabDialect): Promise<void> {
  const servers = await Servers.start(dialect);
  const unbroken = values.broken ? [] : profiles.map((profile) => () => asItIs(servers, dialect, profile));
  const names = values['only-good'] ? [] : values.broken ? [values.broken] : SWITCH_NAMES;
  const bad = names.map((name) => () => broken(servers, name, values.profile ? profiles[0] : PROFILES[shownIn(name)]));
  const [part, parts] = values.part.split('/').map(Number);
  try {
    for (const run of [...unbroken, ...bad].filter((_, i) => i % parts === part - 1)) await run();
  } finally {
    await servers.dispose();
  }
}

async function asItIs(servers: Servers, dialect: LabDialect, profile: Profile): Promise<void> {
  const seconds = Number(values.seconds ?? SECONDS[profile.name]);
  await withLab(servers, settingsFor(profile), (lab) => good(lab, dialect, profile, seed, seconds));
}

const [first, ...others] = values.dialect ? [values.dialect as LabDialect] : (['postgres', 'mariadb'] as const);
if (values.minutes) await soak(Number(values.minutes), [first, ...others]);
else await examine(first);
console.log(`\nfault lab: ${passed} passed, ${failed} failed (--seed ${seed})`);
process.exit(failed ? 1 : 0);
