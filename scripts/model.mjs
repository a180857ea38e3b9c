/**
 * Checks the model of the protocol (test/faults/model/protocol.pml) exhaustively with SPIN: as it is, no guarantee can be
 * broken; without the fence, or a part of it, what that prevents must be found. Installs SPIN where it may.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aptGetPrefix, aptInstall, mayInstall } from './databases.mjs';
import { root } from './workspace.mjs';

const MODEL = join(root, 'test/faults/model/protocol.pml');
/** The largest takes ten seconds of a processor, which `.ci/run` has to spare in small pieces. */
const TIME_LIMIT = 300_000;

/** @typedef {{ name: string, defines: string[], mustFail?: string }} Check */

/** @type {Check[]} */
const CHECKS = [
  { name: 'two owners, two lives each', defines: ['OWNERS=2', 'RUNS=2'] },
  { name: 'two owners, two lives each, transactional', defines: ['OWNERS=2', 'RUNS=2', 'TXN=1'] },
  { name: 'three owners', defines: ['OWNERS=3', 'RUNS=1', 'LATE=0'] },
  { name: 'three owners, transactional', defines: ['OWNERS=3', 'RUNS=1', 'LATE=0', 'TXN=1'] },
  { name: 'hold, two lives each', defines: ['OWNERS=2', 'RUNS=2', 'LATE=0', 'HOLD=1'] },
  { name: 'hold, late completions', defines: ['OWNERS=2', 'RUNS=1', 'HOLD=1'] },
  { name: 'hold, transactional, two lives each', defines: ['OWNERS=2', 'RUNS=2', 'LATE=0', 'TXN=1', 'HOLD=1'] },
  { name: 'hold, transactional, late completions', defines: ['OWNERS=2', 'RUNS=1', 'TXN=1', 'HOLD=1'] },
  { name: 'hold, an operator who finds out', defines: ['OWNERS=2', 'RUNS=2', 'HOLD=2'] },
  { name: 'hold, an operator who finds out, three owners', defines: ['OWNERS=3', 'RUNS=1', 'LATE=0', 'HOLD=2'] },
  {
    name: 'renewed beside the record, two lives each',
    defines: ['OWNERS=2', 'RUNS=2', 'LATE=0', 'TXN=1', 'BESIDE=1', 'SNAP=1'],
  },
  {
    name: 'renewed beside the record, late completions',
    defines: ['OWNERS=2', 'RUNS=1', 'TXN=1', 'BESIDE=1', 'SNAP=1'],
  },
  {
    name: 'hold, renewed beside the record',
    defines: ['OWNERS=2', 'RUNS=1', 'TXN=1', 'BESIDE=1', 'SNAP=1', 'HOLD=1'],
  },
  {
    name: 'older snapshots, renewed on the record itself',
    defines: ['OWNERS=2', 'RUNS=1', 'TXN=1', 'SNAP=1'],
    mustFail: 'current>>(me/8)',
  },
  {
    name: 'renewed beside the record, a claim that goes by an older look at the lease',
    defines: ['OWNERS=2', 'RUNS=1', 'TXN=1', 'BESIDE=1', 'JUDGE=0'],
    mustFail: 'renewed!=token',
  },
  {
    name: 'hold, a fence that does not look at the status',
    defines: ['OWNERS=2', 'RUNS=1', 'FENCE=2', 'HOLD=1'],
    mustFail: 'status!=4',
  },
  {
    name: "hold, a resolution that stays the last owner's",
    defines: ['OWNERS=2', 'RUNS=1', 'NOBODY=0', 'HOLD=1'],
    mustFail: 'outcome==seen',
  },
  { name: 'without the fence', defines: ['OWNERS=2', 'RUNS=1', 'FENCE=0'], mustFail: 'mine==token' },
  {
    name: 'without the fence, transactional',
    defines: ['OWNERS=2', 'RUNS=1', 'FENCE=0', 'TXN=1'],
    mustFail: 'mine==token',
  },
];

await ensureSpin();
const startedAt = performance.now();
const queue = [...CHECKS];
let failed = 0;
// Two at a time: what a small machine has.
await Promise.all([work(), work()]);
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
console.log(`model: ${CHECKS.length - failed} passed, ${failed} failed, in ${seconds} s`);
process.exit(failed ? 1 : 0);

async function work() {
  for (let check = queue.shift(); check; check = queue.shift()) {
    const { name, mustFail } = check;
    const output = await verify(check);
    const states = /(\d+) states, stored/.exec(output)?.[1];
    const error = /assertion violated \((.*)\) \(at depth/.exec(output)?.[1];
    const complete = output.includes('errors: 0') && !/max search depth too small|out of memory/.test(output);
    const good = mustFail ? Boolean(error?.includes(mustFail)) : complete;
    if (!good) failed++;
    const found = error ? `found: ${error}` : complete ? 'nothing to be found' : `not checked:\n${output}`;
    console.log(`${good ? 'ok' : 'FAILED'}  model, ${name}: ${states} states, ${found}`);
  }
}

/**
 * @param {Check} check
 * @returns {Promise<string>} what the verifier said
 */
async function verify({ defines }) {
  const folder = mkdtempSync(join(tmpdir(), 'idempotency-model-'));
  try {
    copyFileSync(MODEL, join(folder, 'protocol.pml'));
    const cwd = { cwd: folder };
    execFileSync('spin', ['-a', ...defines.map((define) => `-D${define}`), 'protocol.pml'], cwd);
    execFileSync('gcc', ['-O2', '-DSAFETY', '-DCOLLAPSE', '-DVECTORSZ=2048', '-w', '-o', 'pan', 'pan.c'], cwd);
    return await output(join(folder, 'pan'), ['-m1000000', '-w24'], folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {string} cwd
 * @returns {Promise<string>}
 */
function output(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, timeout: TIME_LIMIT });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    child.stderr.on('data', (chunk) => (said += chunk));
    child.once('error', reject);
    child.once('close', () => resolve(said));
  });
}

async function ensureSpin() {
  const missing = ['spin', 'gcc'].filter((command) => spawnSync(command, ['--version']).error);
  if (missing.length === 0) return;
  const prefix = aptGetPrefix();
  if (!prefix || !(await mayInstall(missing))) {
    console.error(
      `The model needs ${missing.join(' and ')}: sudo apt-get install spin gcc libc6-dev; macOS: brew install spin`,
    );
    process.exit(1);
  }
  if (!(await aptInstall(prefix, missing.includes('gcc') ? [...missing, 'libc6-dev'] : missing))) process.exit(1);
}
